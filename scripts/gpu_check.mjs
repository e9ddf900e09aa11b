// `npm run gpu:check`, for users with an NVIDIA GPU. It builds for the GPU, runs the stages of gpu/README.md on it
// (options are those of gpu/main.ts), and writes a page of the measurements. It also compares the GPU's results with
// those of the PTX executor, if that was built by npm run test:ptxsim.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CUDA_BINARY, ROOT } from './files.mjs';

const EXECUTOR_BINARY = join(ROOT, 'build-ptxsim', 'Release', 'structured_ffn.node');

const given = process.argv.slice(2);
const { values } = parseArgs({
  args: given,
  strict: false,
  options: { out: { type: 'string', default: 'gpu-results' } },
});
const out = resolve(values.out);

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
    process.exitCode = 1;
  }
  return stdout;
}
const typescript = (file, ...args) => ['-r', './scripts/register_ts.cjs', file, ...args];

node(['scripts/build.mjs', '--cuda']);
if (process.exitCode) process.exit();
mkdirSync(out, { recursive: true });
node(typescript('gpu/main.ts', ...given, `--out=${out}`), { STRUCTURED_FFN_BINARY: CUDA_BINARY });
node(typescript('gpu/report/main.ts', out, `--out=${join(out, 'report.md')}`));

const outputs = (binary) =>
  JSON.parse(node(typescript('test/cuda/outputs.ts'), { STRUCTURED_FFN_BINARY: binary }, true));
if (process.exitCode || !existsSync(EXECUTOR_BINARY)) {
  console.log('gpu:check: not compared with the PTX executor, which npm run test:ptxsim builds');
} else {
  const [here, there] = [CUDA_BINARY, EXECUTOR_BINARY].map(outputs);
  for (const [name, values] of Object.entries(here)) {
    const norm = Math.hypot(...there[name]);
    const error = Math.hypot(...values.map((value, i) => value - there[name][i])) / (norm || 1);
    console.log(`gpu:check: ${name}: relative difference from the PTX executor ${error.toExponential(1)}`);
    // bf16 results may round the other way if the tensor cores sum in another order.
    if (!(error < (name.includes('bfloat16') ? 5e-3 : 1e-5))) process.exitCode = 1;
  }
}
