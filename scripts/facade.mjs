// The ESM face of the CommonJS build: modules that only pass its names on, so that `import` and `require` see the same
// classes. One per entry of the package's `exports`.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { ROOT } from './files.mjs';

const require = createRequire(import.meta.url);

/** The CommonJS files that `exports` names, such as dist/nn/index.js. */
export function entries() {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return Object.values(exports).flatMap((target) => (typeof target === 'string' ? [] : [target.require.default]));
}

/** Writes index.mjs and index.d.mts next to each entry. The modules are loaded for their names: build the binary first. */
export function writeFacades() {
  for (const entry of entries()) {
    const path = join(ROOT, entry);
    const names = Object.keys(require(path)).sort();
    const file = basename(path);
    const code = `import cjs from './${file}';\nexport const {\n${names.map((name) => `  ${name},\n`).join('')}} = cjs;\n`;
    writeFileSync(path.replace(/\.js$/, '.mjs'), code);
    writeFileSync(path.replace(/\.js$/, '.d.mts'), `export * from './${file}';\n`);
  }
}
