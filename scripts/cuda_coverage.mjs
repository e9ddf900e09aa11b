// `npm run cuda:coverage`: which lines of the matrix products' PTX test/cuda/products.ts executes on the PTX executor. With
// --missed it also prints the lines that were not.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInstruction, kernelsOf, PTXSIM_BINARY, requireBinary, runProducts, shortName } from './ptx_binary.mjs';

const kernels = kernelsOf(requireBinary()).filter(({ name }) => /gemm_|add_parts/.test(name));
const scratch = mkdtempSync(join(tmpdir(), 'ptx-coverage-'));
const { status, stderr, report } = runProducts(PTXSIM_BINARY, join(scratch, 'report.json'), {
  env: { PTXSIM_COVERAGE: '1' },
});
rmSync(scratch, { recursive: true });
if (status !== 0 || report?.findings.length !== 0) {
  console.error(`CUDA: the products are wrong: ${stderr}${JSON.stringify(report?.findings)}`);
  process.exit(1);
}

const total = { executed: 0, lines: 0 };
const percent = (executed, lines) => `${((100 * executed) / lines).toFixed(1)} %`;
for (const kernel of kernels) {
  const counts = report.kernels.find(({ name }) => name === kernel.name)?.lines;
  const label = shortName(kernel.name);
  if (!counts) {
    console.log(`${label}: not launched`);
    continue;
  }
  const lines = kernel.lines.filter(({ text }) => isInstruction(text));
  const missed = lines.filter(({ number }) => !(counts[number] > 0));
  const executed = lines.length - missed.length;
  total.executed += executed;
  total.lines += lines.length;
  console.log(`${label}: ${executed} of ${lines.length} lines, ${percent(executed, lines.length)}`);
  if (process.argv.includes('--missed')) for (const { number, text } of missed) console.log(`  ${number}: ${text}`);
}
console.log(`launched kernels: ${total.executed} of ${total.lines} lines, ${percent(total.executed, total.lines)}`);
