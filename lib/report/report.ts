/** A run as one self-contained HTML page: pictures inside, no scripts. */
import { checkWritable, writeAtomically } from '../io/files';
import { checkDrawing, drawCharts } from './charts';
import { type RunRecord, summaryRows } from './record';

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
  return `<!doctype html>
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

/** Checks whether a report can be drawn and written, before there is one. @throws as writeReport does. */
export async function checkReport(path: string): Promise<void> {
  await checkDrawing();
  checkWritable(path);
}

/** @throws {FileError} when it cannot be written. @throws {OptionError} when the drawing library is not installed. */
export async function writeReport(path: string, record: RunRecord, sample: string | null): Promise<void> {
  writeAtomically(path, [Buffer.from(page(record, await drawCharts(record), sample))]);
}
