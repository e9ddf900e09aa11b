/** `npm run bench:compare -- BEFORE.json AFTER.json`: exit code 1 when something of ours became worse beyond noise. */
import { Command, InvalidArgumentError } from 'commander';
import { compareResults, DEFAULT_TOLERANCE } from './harness/comparison';
import { formatValue } from './harness/print';
import { readResults } from './harness/results';

function compare(before: string, after: string, tolerance: number): void {
  const changes = compareResults(readResults(before), readResults(after), tolerance);
  const count = (verdict: string) => changes.filter((change) => change.verdict === verdict).length;
  for (const { key, before: old, after: now, ratio, verdict } of changes)
    if (verdict !== 'same')
      console.log(`${verdict} ${ratio.toFixed(2)}×  ${formatValue(old)} → ${formatValue(now)}  ${key}`);
  console.log(`${changes.length} figures in both: ${count('worse')} worse, ${count('better')} better`);
  if (changes.length === 0) throw new Error('the two runs have no figure in common');
  if (count('worse') > 0) process.exitCode = 1;
}

function parseTolerance(text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new InvalidArgumentError('A number such as 0.1 is needed.');
  return value;
}

const command = new Command('bench:compare')
  .description(
    'Compares two runs of the benchmarks. Exit code 1: something became worse beyond noise; 2: no comparison.',
  )
  .argument('<before>', 'results of a run')
  .argument('<after>', 'results of a later run')
  .option('--tolerance <part>', 'changes up to this are noise', parseTolerance, DEFAULT_TOLERANCE)
  .parse();

try {
  compare(command.args[0]!, command.args[1]!, command.opts<{ tolerance: number }>().tolerance);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
