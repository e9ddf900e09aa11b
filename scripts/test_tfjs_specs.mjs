// Runs the specs of TensorFlow.js, which are in its npm package, with our kernels installed. On the backend cpu all
// must pass. wasm lacks some kernels, so there every spec that passes without us must pass with us.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import Jasmine from 'jasmine';
import { ROOT } from './files.mjs';

const require = createRequire(import.meta.url);
const BUNDLE = join(ROOT, 'build', 'tfjs_specs.cjs');
const LEAST = 4000; // of specs: fewer would mean that they were not found

/** In a separate process: runs the bundle, writes the names of the failed specs, and the number of specs. */
async function run() {
  const jasmine = new Jasmine();
  jasmine.randomizeTests(false);
  jasmine.exitOnCompletion = false;
  jasmine.clearReporters();
  const failed = [];
  let specs = 0;
  jasmine.addReporter({
    specDone: ({ status, fullName, failedExpectations }) => {
      if (status === 'passed' || status === 'failed') specs++;
      if (status === 'failed') failed.push([fullName, failedExpectations[0]?.message ?? '']);
    },
  });
  await jasmine.execute([BUNDLE]);
  process.stdout.write(`\n${JSON.stringify({ specs, failed })}\n`, () => process.exit());
}

function failures(backend, installed) {
  const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--run'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: {
      ...process.env,
      SPECS_BACKEND: backend,
      SPECS_WASM: join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist/'),
      SPECS_INSTALL: installed ? join(ROOT, 'dist', 'tfjs') : '',
    },
  });
  let result;
  try {
    result = JSON.parse(stdout.trimEnd().split('\n').at(-1));
  } catch {
    console.error(`${stdout.slice(-2000)}\n${stderr.slice(-2000)}`);
    process.exit(1);
  }
  const { specs, failed } = result;
  console.log(`tfjs specs on ${backend}${installed ? ', installed' : ''}: ${specs} run, ${failed.length} failed`);
  if (specs < LEAST) process.exit(1);
  return new Map(failed);
}

async function main() {
  await build({
    entryPoints: [join(ROOT, 'test', 'tfjs', 'specs', 'main.mjs')],
    outfile: BUNDLE,
    bundle: true,
    platform: 'node',
    mainFields: ['module', 'main'],
    ignoreAnnotations: true, // the specs' modules are imported for their effects
    logLevel: 'error',
  });
  const expected = failures('wasm', false);
  const unexpected = [...failures('cpu', true), ...[...failures('wasm', true)].filter(([name]) => !expected.has(name))];
  for (const [name, message] of unexpected) console.error(`failed: ${name}\n  ${message}`);
  process.exit(unexpected.length === 0 ? 0 : 1);
}

await (process.argv.includes('--run') ? run() : main());
