// `npm run cuda:coverage`: which lines of the matrix products' PTX test/cuda/products.ts executes on the PTX executor.
// It counts only lines that can be executed: those that it or `--random=N` (400) random calls of the ops execute. The
// rest is code that nvcc unrolled into instances whose callers never use it. With --missed it also prints the lines
// that only the random calls executed. With `--at-least=PERCENT` it fails if fewer lines are executed.
import { coverageOf, DEVICES, demand, option, productKernels } from './product_runs.mjs';
import { requireBinary, shortName } from './ptx_binary.mjs';

/** Whether a run of the products on any of DEVICES executes a line. */
async function executedBy(args) {
  const runs = await Promise.all(DEVICES.map((device) => coverageOf(device, args)));
  return (kernel, line) => runs.some(({ executes }) => executes(kernel, line));
}

const [tested, possible] = await Promise.all([executedBy([]), executedBy([`--random=${option('random', 400)}`])]);
const zero = () => ({ instances: 0, executed: 0, reachable: 0, lines: 0 });
const families = new Map();
const total = zero();
for (const { name, lines } of productKernels(requireBinary())) {
  const label = shortName(name);
  const executed = lines.filter((line) => tested(name, line)).length;
  const missed = lines.filter((line) => !tested(name, line) && possible(name, line));
  const reachable = executed + missed.length;
  const family = label.split('<')[0];
  if (!families.has(family)) families.set(family, zero());
  for (const sum of [families.get(family), total]) {
    sum.instances += executed > 0 ? 1 : 0;
    sum.executed += executed;
    sum.reachable += reachable;
    sum.lines += lines.length;
  }
  console.log(`${label}: ${executed} of ${reachable} lines, ${lines.length} in all`);
  if (process.argv.includes('--missed')) for (const { number, text } of missed) console.log(`  ${number}: ${text}`);
}
for (const [family, { instances, executed, reachable, lines }] of [...families, ['together', total]]) {
  const percent = ((100 * executed) / reachable).toFixed(2);
  console.log(`${family}: ${instances} instances, ${executed} of ${reachable} lines (${percent} %), ${lines} in all`);
}
demand(total.executed, total.reachable);
