// Reads what the lines of standard input name, each {"kind", "path"}, and tells how that went, one JSON object a line.
require('../../scripts/register_ts.cjs');
const { join } = require('node:path');
const { createInterface } = require('node:readline');
const { writeSync } = require('node:fs');

const lib = join(__dirname, '..', '..', 'lib');
const { loadSafetensors } = require(join(lib, 'io', 'index.ts'));
const { loadModel, Trainer } = require(join(lib, 'train', 'index.ts'));
const { TokenFile, BatchLoader } = require(join(lib, 'data', 'index.ts'));

const READERS = {
  safetensors: (path) => loadSafetensors(path),
  model: (path) => loadModel(path).model.dispose(),
  trainer: (path) => Trainer.resume(path)[Symbol.dispose](),
  tokens: (path) => {
    const file = new TokenFile(path);
    try {
      new BatchLoader(file, { batchSize: 2, seqLen: 16, vocabSize: 29 }).next();
    } finally {
      file.close();
    }
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { kind, path } = JSON.parse(line);
  const start = performance.now();
  const { rss } = process.memoryUsage();
  let error = null;
  try {
    READERS[kind](path);
  } catch (thrown) {
    error = { code: thrown.code ?? null, message: `${thrown.name}: ${thrown.message}`, stack: thrown.stack };
  }
  const megabytes = (process.memoryUsage().rss - rss) / 1e6;
  writeSync(1, `${JSON.stringify({ milliseconds: performance.now() - start, megabytes, error })}\n`);
});
