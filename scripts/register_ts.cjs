// `node -r ./scripts/register_ts.cjs file.ts` runs TypeScript as it is, with the compiler that jest uses.
const { readFileSync } = require('node:fs');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    filename,
    sourceMaps: 'inline',
    swcrc: false,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    // A dynamic import stays one: some packages are ES modules only.
    module: { type: 'commonjs', ignoreDynamic: true },
  });
  module._compile(code, filename);
};
