import pc from 'picocolors';
import { type RunRecord, summaryRows } from '../report/record';

/** The results of the run, on standard output. */
export function printSummary(record: RunRecord, sample: string | null): void {
  const rows = summaryRows(record);
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, text]) => `${pc.dim(name.padEnd(width))}  ${text}`);
  if (sample !== null) lines.push('', pc.dim('sample'), sample.trim());
  process.stdout.write(`\n${lines.join('\n')}\n`);
}
