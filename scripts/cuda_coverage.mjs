// `npm run cuda:coverage`: which lines of the matrix products' PTX test/cuda/products.ts executes on the PTX executor, of those
// that can be executed: the ones that it or `--random=N` (400) random calls of the ops execute. The rest is what nvcc unrolled
// into instances whose callers never ask for it. With --missed it also prints the lines that only the random calls executed.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInstruction, kernelsOf, PTXSIM_BINARY, requireBinary, runProducts, shortName } from './ptx_binary.mjs';

const random = process.argv.find((text) => text.startsWith('--random=')) ?? '--random=400';
const kernels = kernelsOf(requireBinary()).filter(({ name }) => /gemm_|add_parts/.test(name));

/** Executions by kernel and line. */
function executions(args) {
  const scratch = mkdtempSync(join(tmpdir(), 'ptx-coverage-'));
  const env = { PTXSIM_COVERAGE: '1' };
  const { status, stderr, report } = runProducts(PTXSIM_BINARY, join(scratch, 'report.json'), { args, env });
  rmSync(scratch, { recursive: true });
  if (status !== 0 || report?.findings.length !== 0) {
    console.error(`CUDA: the products are wrong: ${stderr}${JSON.stringify(report?.findings)}`);
    process.exit(1);
  }
  return new Map(report.kernels.map(({ name, lines }) => [name, lines ?? {}]));
}

const tested = executions([]);
const possible = executions([random]);
const families = new Map();
for (const { name, lines } of kernels) {
  const label = shortName(name);
  const ran = (run, number) => run.get(name)?.[number] > 0;
  const instructions = lines.filter(({ text }) => isInstruction(text));
  const executed = instructions.filter(({ number }) => ran(tested, number)).length;
  const missed = instructions.filter(({ number }) => !ran(tested, number) && ran(possible, number));
  const family = label.split('<')[0];
  const sum = families.get(family) ?? { instances: 0, executed: 0, reachable: 0, lines: 0 };
  sum.instances += executed > 0 ? 1 : 0;
  sum.executed += executed;
  sum.reachable += executed + missed.length;
  sum.lines += instructions.length;
  families.set(family, sum);
  console.log(`${label}: ${executed} of ${executed + missed.length} lines, ${instructions.length} in all`);
  if (process.argv.includes('--missed')) for (const { number, text } of missed) console.log(`  ${number}: ${text}`);
}
for (const [family, { instances, executed, reachable, lines }] of families) {
  const percent = ((100 * executed) / reachable).toFixed(1);
  console.log(`${family}: ${instances} instances, ${executed} of ${reachable} lines (${percent} %), ${lines} in all`);
}
