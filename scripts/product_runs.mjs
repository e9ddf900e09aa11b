// Runs of the checks of the matrix products (test/cuda/products.ts) on the PTX executor.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { isInstruction, kernelsOf, PTXSIM_BINARY } from './ptx_binary.mjs';

/** The value of `--name=NUMBER` among the arguments of this process. */
export const option = (name, fallback) =>
  Number(process.argv.find((text) => text.startsWith(`--${name}=`))?.split('=')[1] ?? fallback);

/** Makes this process fail unless `--at-least=PERCENT` of `all` are `reached`. */
export function demand(reached, all) {
  if (!(100 * reached >= option('at-least', 0) * all)) process.exitCode = 1;
}

/** The kernels of the matrix products in `binary`, with only the instructions among their lines. */
export const productKernels = (binary) =>
  kernelsOf(binary)
    .filter(({ name }) => /gemm_|add_parts/.test(name))
    .map(({ name, lines }) => ({ name, lines: lines.filter(({ text }) => isInstruction(text)) }));

/** Simulated compute capabilities, and what to check on them: products of other types are the same on both. */
export const DEVICES = [
  { capability: '80', types: [] },
  { capability: '90', types: ['--type=bfloat16'] },
];

/**
 * Runs the checks on `binary` and one of DEVICES. Returns whether they pass, the output of the checks and the executor,
 * and the executor's report, if there is one.
 */
export function runProducts(binary, { capability, types }, args, env = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'ptx-products-'));
  const [outputPath, reportPath] = [join(scratch, 'output'), join(scratch, 'report.json')];
  // A file, because a full pipe loses lines: the executor does not wait until there is room.
  const output = openSync(outputPath, 'w');
  const script = ['-r', './scripts/register_ts.cjs', join('test', 'cuda', 'products.ts')];
  const child = spawn(process.execPath, [...script, ...types, ...args], {
    cwd: ROOT,
    stdio: ['ignore', output, output],
    env: {
      ...process.env,
      STRUCTURED_FFN_BINARY: binary,
      STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING: '1',
      // On a small device small products get the kernels of large ones.
      PTXSIM_MULTIPROCESSORS: '8',
      PTXSIM_COMPUTE_CAPABILITY: capability,
      PTXSIM_REPORT: reportPath,
      PTXSIM_STRICT: '1',
      ...env,
    },
  });
  closeSync(output);
  return new Promise((resolve) => {
    child.on('exit', (status) => {
      const printed = readFileSync(outputPath, 'utf8');
      const report = existsSync(reportPath) ? JSON.parse(readFileSync(reportPath, 'utf8')) : null;
      rmSync(scratch, { recursive: true });
      resolve({ passed: status === 0, printed, report });
    });
  });
}

/** A run of the unchanged addon: which lines it executes, and its output. Ends this process if it fails. */
export async function coverageOf(device, args, env = {}) {
  const { passed, printed, report } = await runProducts(PTXSIM_BINARY, device, args, { PTXSIM_COVERAGE: '1', ...env });
  if (!passed || report?.findings.length !== 0) {
    console.error(`CUDA: the products are wrong: ${printed}`);
    process.exit(1);
  }
  const counts = new Map(report.kernels.map(({ name, lines }) => [name, lines]));
  return { printed, executes: (kernel, { number }) => counts.get(kernel)?.[number] > 0 };
}
