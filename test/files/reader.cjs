// Reads the safetensors files that the lines of standard input name, each {"path"}, and tells how that went, one JSON object a line.
require('../../scripts/register_ts.cjs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { writeSync } = require('node:fs');

const lib = join(__dirname, '..', '..', 'lib');
const { loadSafetensors } = require(join(lib, 'io', 'index.ts'));

createInterface({ input: process.stdin }).on('line', (line) => {
  const { path } = JSON.parse(line);
  const start = performance.now();
  const { rss } = process.memoryUsage();
  let error = null;
  try {
    loadSafetensors(path);
  } catch (thrown) {
    error = { code: thrown.code ?? null, message: `${thrown.name}: ${thrown.message}`, stack: thrown.stack };
  }
  const megabytes = (process.memoryUsage().rss - rss) / 1e6;
  writeSync(1, `${JSON.stringify({ milliseconds: performance.now() - start, megabytes, error })}\n`);
});
