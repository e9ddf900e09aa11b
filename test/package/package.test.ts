/** The package as users get it: packed, unpacked elsewhere, imported both ways; and what it says without its binary. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'package-'));
const installed = join(folder, 'node_modules', 'structured-ffn');
afterAll(() => rmSync(folder, { recursive: true }));

function run(command: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8', ...options });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} gave ${status}\n${stdout}${stderr}`);
  return stdout;
}

const node = (file: string, source: string, env: NodeJS.ProcessEnv = {}): string => {
  writeFileSync(join(folder, file), source);
  return run(process.execPath, [file], { env: { ...process.env, ...env } });
};

const { dependencies, exports: entries } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  exports: Record<string, unknown>;
};
const subpaths = Object.keys(entries).filter((entry) => entry !== './package.json');
const specifiers = subpaths.map((entry) => entry.replace('.', 'structured-ffn'));

beforeAll(() => {
  run(process.execPath, ['scripts/build.mjs'], { cwd: ROOT });
  const [{ filename = '' } = {}] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT }),
  ) as { filename?: string }[];
  mkdirSync(installed, { recursive: true });
  run('tar', ['-xzf', filename, '-C', installed, '--strip-components', '1']);
  for (const name of Object.keys(dependencies)) {
    const target = join(folder, 'node_modules', name);
    mkdirSync(join(target, '..'), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', name), target);
  }
}, 300_000);

/** The binary is not in the package: it is compiled, or comes from a package of its own. */
const binary = { STRUCTURED_FFN_BINARY: join(ROOT, 'build', 'Release', 'structured_ffn.node') };

test('without a binary, both ways of loading say which command builds it', () => {
  const required = "try { require('structured-ffn'); } catch (e) { console.log(e.code, e.message); }";
  const missing = { STRUCTURED_FFN_BINARY: '' };
  writeFileSync(join(folder, 'missing.mjs'), "import 'structured-ffn';");
  const imported = spawnSync(process.execPath, ['missing.mjs'], {
    cwd: folder,
    env: { ...process.env, ...missing },
    encoding: 'utf8',
  });
  expect(imported.status).toBe(1);
  const text = node('missing.cjs', required, missing);
  expect(text).toMatch(/^ERR_BINARY /);
  for (const message of [text, imported.stderr]) {
    expect(message).toContain('structured-ffn: no native binary for ');
    expect(message).toContain(join('node_modules', 'structured-ffn', 'build', 'Release', 'structured_ffn.node'));
    expect(message).toContain('npm run build');
    expect(message).toContain('npx structured-ffn build');
  }
  const elsewhere = { STRUCTURED_FFN_BINARY: join(folder, 'nowhere.node') };
  expect(node('missing.cjs', required, elsewhere)).toContain(join(folder, 'nowhere.node'));
  writeFileSync(join(folder, 'broken.node'), 'no library');
  const broken = { STRUCTURED_FFN_BINARY: join(folder, 'broken.node') };
  expect(node('missing.cjs', required, broken)).toMatch(/^ERR_BINARY .*broken.node does not load: .*\n.*npm run build/);
});

test.each(specifiers)('%s: import and require see the same names and classes', (specifier) => {
  const source = `
    import { createRequire } from 'node:module';
    import * as esm from '${specifier}';
    const cjs = createRequire(import.meta.url)('${specifier}');
    const names = Object.keys(cjs).filter((name) => name !== '__esModule');
    console.log(names.length > 0 && names.every((name) => esm[name] === cjs[name])
      && Object.keys(esm).every((name) => name in cjs));`;
  expect(node('same.mjs', source, binary)).toBe('true\n');
});

test('kernels run from the installed package', () => {
  const source = `
    import { defineLinear } from 'structured-ffn/functional';
    import { tensor, linear } from 'structured-ffn';
    const layer = defineLinear({ structure: 'dense', inFeatures: 2, outFeatures: 1 });
    const { y } = layer.forward({ x: Float32Array.of(1, 2), u: Float32Array.of(3, 4) });
    console.log(y[0], linear(tensor([[1, 2]]), tensor([[3, 4]])).item());`;
  expect(node('run.mjs', source, binary)).toBe('11 11\n');
});

test('the declarations hold for ESM and CommonJS users', () => {
  const ours = specifiers.filter((specifier) => specifier !== 'structured-ffn/tfjs');
  const source = ours.map((specifier, i) => `import * as m${i} from '${specifier}';\nvoid m${i};\n`).join('');
  const use = `
import { tensor, type Tensor } from 'structured-ffn';
import { defineLinear } from 'structured-ffn/functional';
export const t: Tensor = tensor([1, 2]);
export const y: Float32Array = defineLinear({ structure: 'dense', inFeatures: 2, outFeatures: 1 }).forward({
  x: new Float32Array(2),
  u: new Float32Array(2),
}).y;
// @ts-expect-error
tensor(true);
`;
  for (const file of ['use.mts', 'use.cts']) writeFileSync(join(folder, file), source + use);
  cpSync(join(ROOT, 'node_modules', '@types', 'node'), join(folder, 'node_modules', '@types', 'node'), {
    recursive: true,
  });
  cpSync(join(ROOT, 'node_modules', 'undici-types'), join(folder, 'node_modules', 'undici-types'), { recursive: true });
  const options = ['--strict', '--noEmit', '--module', 'node16', '--target', 'es2022', '--types', 'node'];
  const lib = ['--lib', 'es2023,esnext.disposable'];
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  run(tsc, [...options, ...lib, 'use.mts', 'use.cts']);

  // tfjs's own declarations need those of a browser, and are not ours to check.
  symlinkSync(join(ROOT, 'node_modules', '@tensorflow'), join(folder, 'node_modules', '@tensorflow'));
  const integration = `
import * as tf from '@tensorflow/tfjs';
import { install } from 'structured-ffn/tfjs';
export const y: tf.Tensor = install(tf).dense(tf.zeros([1, 2]), tf.zeros([3, 2]));
// @ts-expect-error
install({});
`;
  for (const file of ['tfjs.mts', 'tfjs.cts']) writeFileSync(join(folder, file), integration);
  run(tsc, [
    ...options,
    '--skipLibCheck',
    '--preserveSymlinks',
    '--lib',
    'es2023,esnext.disposable,dom',
    'tfjs.mts',
    'tfjs.cts',
  ]);
});

test('the package holds what a build needs, and no tests', () => {
  const listed = run('tar', [
    '-tzf',
    `structured-ffn-${JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).version}.tgz`,
  ]);
  for (const file of ['binding.gyp', 'CMakeLists.txt', 'native/kernels.def', 'scripts/build.mjs', 'types/native.d.ts'])
    expect(listed).toContain(`package/${file}\n`);
  expect(listed).not.toMatch(/package\/(test|lib|bench|build)\//);
});

test('the API reference covers what the package exports', () => {
  const { entryPoints } = JSON.parse(readFileSync(join(ROOT, 'tools', 'api', 'typedoc.json'), 'utf8')) as {
    entryPoints: string[];
  };
  const sources = subpaths.map((entry) => `../../lib${entry.slice(1)}/index.ts`);
  expect(entryPoints.toSorted()).toEqual(sources.toSorted());
});
