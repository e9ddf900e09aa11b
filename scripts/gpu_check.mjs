// `npm run gpu:check`, for whoever has an NVIDIA GPU: builds for it, runs the tests that use devices on it, compares what it
// computes with the PTX executor (where that was built by npm run test:ptxsim), and times six shapes.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CUDA_BINARY, ROOT } from './files.mjs';

const require = createRequire(import.meta.url);
const EXECUTOR_BINARY = join(ROOT, 'build-ptxsim', 'Release', 'structured_ffn.node');

function node(args, env = {}, capture = false) {
  const { status, stdout } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: ['inherit', capture ? 'pipe' : 'inherit', 'inherit'],
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 28,
  });
  if (status !== 0) {
    console.error(`gpu:check: failed: ${args.join(' ')}`);
    process.exit(1);
  }
  return stdout;
}
const script = (name, file) => join(dirname(require.resolve(`${name}/package.json`)), file);
const typescript = (file, ...args) => ['-r', './scripts/register_ts.cjs', file, ...args];

node([script('cmake-js', 'bin/cmake-js'), 'build', '-O', 'build-cuda', '--CDSTRUCTURED_FFN_CUDA=ON']);
const status = node(['-p', `require(${JSON.stringify(CUDA_BINARY)}).cudaStatus()`], {}, true).trim();
console.log(`gpu:check: CUDA is ${status}`);
if (!status.startsWith('available')) process.exit(1);

const gpu = { STRUCTURED_FFN_BINARY: CUDA_BINARY };
node([script('jest', 'bin/jest.js'), 'test/cuda', 'test/ops'], { ...gpu, STRUCTURED_FFN_TEST_DEVICE: 'cuda' });

const outputs = (binary) =>
  JSON.parse(node(typescript('test/cuda/outputs.ts'), { STRUCTURED_FFN_BINARY: binary }, true));
if (existsSync(EXECUTOR_BINARY)) {
  const [here, there] = [CUDA_BINARY, EXECUTOR_BINARY].map(outputs);
  for (const [name, values] of Object.entries(here)) {
    const norm = Math.hypot(...there[name]);
    const error = Math.hypot(...values.map((value, i) => value - there[name][i])) / (norm || 1);
    console.log(`gpu:check: ${name}: relative difference from the PTX executor ${error.toExponential(1)}`);
    // bf16 results may round the other way where the tensor cores sum in another order.
    if (!(error < (name.includes('bfloat16') ? 5e-3 : 1e-5))) process.exitCode = 1;
  }
} else {
  console.log('gpu:check: not compared with the PTX executor; build it with npm run test:ptxsim');
}
node(typescript('test/cuda/timings.ts'), gpu);
