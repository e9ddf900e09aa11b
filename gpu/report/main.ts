/**
 * `npm run gpu:report -- RESULTS...`: docs/cuda/gpu.md from folders that the stages wrote. If a command is in several,
 * the last one counts. Results that are not from a GPU become no page of the documentation; --out=FILE writes them
 * elsewhere.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../support/node_script';
import { readRows } from '../support/rows';
import { isOfGpu } from './figures';
import { renderPage } from './page';

const RESULTS = 'results.jsonl';

function report(folders: readonly string[], out: string | undefined): void {
  if (folders.length === 0) throw new Error('gpu:report: which results? Name the folders that the stages wrote');
  const files = folders.map((folder) => join(folder, RESULTS));
  for (const file of files) if (!existsSync(file)) throw new Error(`gpu:report: there is no ${file}`);
  const rows = readRows(files);
  if (out === undefined && !isOfGpu(rows))
    throw new Error(
      'gpu:report: these figures are not all of a GPU: they are not for docs/cuda. --out=FILE writes them elsewhere',
    );
  const page = out ?? join(ROOT, 'docs', 'cuda', 'gpu.md');
  writeFileSync(page, renderPage(rows));
  console.log(`written: ${page}`);
}

try {
  const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
  report(positionals, values.out);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
