/** `npm run bench:report -- RESULTS.json ...`: Markdown tables and SVG plots of one run, or of several together. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { isExecutor } from './harness/machine';
import { readResults } from './harness/results';
import { NOTES, reportPages } from './report/pages';
import { drawPlots } from './report/plots';

async function report(files: readonly string[], folder: string): Promise<void> {
  const runs = files.map(readResults);
  if (runs.some(({ machine }) => isExecutor(machine)))
    throw new Error('these figures come from the PTX executor, which is not a GPU: they are not for a report');
  const plots = await drawPlots(runs);
  const pages = reportPages(runs, new Set(plots.keys()), existsSync(join(folder, NOTES)));
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of [...pages, ...plots]) writeFileSync(join(folder, name), content);
  console.log(`written: ${[...pages.keys(), ...plots.keys()].map((name) => join(folder, name)).join(', ')}`);
}

const command = new Command('bench:report')
  .description('Draws tables and plots of benchmark results.')
  .argument('<results...>', 'JSON files of bench; where two have the same figure, the later file counts')
  .option('--out <folder>', 'where the pages go', 'docs/benchmarks')
  .parse();

report(command.args, command.opts<{ out: string }>().out).catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
