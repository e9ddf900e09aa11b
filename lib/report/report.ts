/** A run as one self-contained HTML page: pictures inside, no scripts. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { FileError } from '../errors';
import { checkWritable, withFile, writeAtomically } from '../io/files';
import { checkDrawing, drawCharts } from './charts';
import { type RunRecord, summaryRows } from './record';

/** How a report begins. */
const DOCTYPE = '<!doctype html>';

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 760px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } td { padding: .2rem 1.2rem .2rem 0; vertical-align: top; }
td:first-child { color: #666; white-space: nowrap; } svg { max-width: 100%; height: auto; }
pre { white-space: pre-wrap; background: #f6f6f6; padding: 1rem; border-radius: 6px; }`;

function page(record: RunRecord, charts: readonly string[], sample: string | null): string {
  const { model, guidance } = record.plan.config;
  const { ffn } = model;
  const title = `${ffn?.structure ?? 'dense'} language model, ${model.nLayers} layers of width ${model.dModel}`;
  const rows = summaryRows(record).map(
    ([name, text]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(text)}</td></tr>`,
  );
  return `${DOCTYPE}
<html lang="en">
<head><meta charset="utf-8"><title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body>
<h1>${escapeHtml(title)}</h1>
<p>${guidance ? `Self-guided training, ${escapeHtml(guidance.protocol ?? 'fixed-step')}.` : 'Trained without a guide.'}</p>
<table>${rows.join('\n')}</table>
${charts.map((svg) => `<figure>${svg}</figure>`).join('\n')}
${sample === null ? '' : `<h2>Sample</h2>\n<pre>${escapeHtml(sample)}</pre>`}
<h2>Configuration</h2>
<pre>${escapeHtml(JSON.stringify(record.plan.config, null, 2))}</pre>
</body>
</html>
`;
}

/** Only a page like ours is replaced. @throws {FileError} */
function checkIsPage(path: string): void {
  if (!existsSync(path)) return;
  const start = withFile('read', path, () => {
    const file = openSync(path, 'r');
    try {
      const bytes = Buffer.alloc(DOCTYPE.length);
      return bytes.toString('utf8', 0, readSync(file, bytes));
    } finally {
      closeSync(file);
    }
  });
  if (start !== '' && start !== DOCTYPE)
    throw new FileError(`cannot write ${path}: it is there already and is no report`);
}

/** Checks whether a report can be drawn and written, before there is one. @throws as writeReport does. */
export async function checkReport(path: string): Promise<void> {
  await checkDrawing();
  checkWritable(path);
  checkIsPage(path);
}

/**
 * @throws {FileError} when it cannot be written, or something else has its name.
 * @throws {OptionError} when the drawing library is not installed.
 */
export async function writeReport(path: string, record: RunRecord, sample: string | null): Promise<void> {
  checkIsPage(path);
  writeAtomically(path, [Buffer.from(page(record, await drawCharts(record), sample))]);
}
