// Builds what is missing or out of date: the native binary (node-gyp), then dist/ (TypeScript and its ESM face).
// Options: --native or --ts for one of them, --cuda for the native binary with CUDA alone, --force to build regardless
// of the dates, --verbose for the compiler's output.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, utimesSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { hasCommand } from './compile.mjs';
import { writeFacades } from './facade.mjs';
import { BINARY, CUDA_BINARY, isStale, ROOT } from './files.mjs';
import { headersFolder, installHint, missingTools } from './toolchain.mjs';

const require = createRequire(import.meta.url);
const flags = new Set(process.argv.slice(2));
const NATIVE_SOURCES = ['native', 'binding.gyp'];
const TS_SOURCES = ['lib', 'types', 'tsconfig.json', 'tsconfig.build.json', 'package.json', 'scripts/facade.mjs'];
const FACADE = join(ROOT, 'dist', 'index.mjs');

function fail(message) {
  console.error(`structured-ffn: ${message}`);
  process.exit(1);
}

/** Runs a package's command line with this Node; its output is shown if it fails or on request. */
function run(what, packageName, file, args) {
  let script;
  try {
    script = join(dirname(require.resolve(`${packageName}/package.json`)), file);
  } catch {
    fail(`${what} needs ${packageName}, which is not installed; run "npm ci" first.`);
  }
  const verbose = flags.has('--verbose');
  const result = spawnSync(process.execPath, [script, ...args], {
    cwd: ROOT,
    stdio: verbose ? 'inherit' : 'pipe',
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (result.status === 0) return;
  if (!verbose) process.stderr.write(`${result.stdout}${result.stderr}`);
  fail(`${what} failed${result.error ? `: ${result.error.message}` : ''} (see above).`);
}

function buildNative() {
  const missing = missingTools();
  if (missing.length > 0) fail(`cannot build the native binary; not found: ${missing.join(', ')}.\n${installHint()}`);
  console.log('structured-ffn: compiling the native binary ...');
  const start = Date.now();
  const headers = headersFolder();
  const options = headers ? [`--nodedir=${headers}`] : [];
  const gyp = (...args) => run('the native build', 'node-gyp', 'bin/node-gyp.js', [...args, ...options]);
  gyp('configure');
  gyp('build', '-j', String(availableParallelism()));
  // A build that relinks nothing leaves the old date; the next call must not build again.
  const now = new Date();
  utimesSync(BINARY, now, now);
  console.log(`structured-ffn: native binary built in ${((Date.now() - start) / 1000).toFixed(0)} s`);
}

function buildTypeScript() {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  run('the TypeScript build', 'typescript', 'bin/tsc', ['-p', 'tsconfig.build.json']);
  writeFacades();
  console.log('structured-ffn: dist/ built');
}

/** On Linux; elsewhere `npm run build:cuda` must be run explicitly. */
const hasGpu = () => existsSync('/proc/driver/nvidia/version');

function hasPackage(name) {
  try {
    return Boolean(require.resolve(`${name}/package.json`));
  } catch {
    return false;
  }
}

/**
 * True where there is a GPU and everything that the build needs, and where it was built before, because the loader
 * prefers that binary.
 */
const wantsCuda = () =>
  existsSync(CUDA_BINARY) ||
  (hasGpu() && [process.env.NVCC ?? 'nvcc', 'cmake'].every(hasCommand) && hasPackage('cmake-js'));

function buildCuda() {
  console.log('structured-ffn: compiling the binary with CUDA ...');
  run('the CUDA build', 'cmake-js', 'bin/cmake-js', ['build', '-O', 'build-cuda', '--CDSTRUCTURED_FFN_CUDA=ON']);
}

const PARTS = ['--native', '--ts', '--cuda'];
const wanted = (part) => flags.has(part) || !PARTS.some((other) => flags.has(other));
const force = flags.has('--force');
if (wanted('--native') && (force || isStale(BINARY, NATIVE_SOURCES))) buildNative();
if ((flags.has('--cuda') || (wanted('--native') && wantsCuda())) && isStale(CUDA_BINARY, NATIVE_SOURCES)) buildCuda();
// An installed package has no lib/: its dist/ came with it.
if (wanted('--ts') && existsSync(join(ROOT, 'lib')) && (force || isStale(FACADE, TS_SOURCES))) buildTypeScript();
