/** The examples run as they are, against the build. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Trainer } from '../../lib/train';

const ROOT = join(__dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'examples-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(name: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'examples', name), ...args], {
    encoding: 'utf8',
    cwd: ROOT,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

test('a training loop by hand learns its function', () => {
  const errors = [...run('train_by_hand.mjs').matchAll(/error (\d\.\d+)/g)].map(([, value]) => Number(value));
  expect(errors).toHaveLength(4);
  expect(errors[3]).toBeLessThan(0.01);
});

test('typed arrays', () => {
  expect(run('typed_arrays.mjs').split('\n')).toEqual([
    // v 4·16·16 and u 4·64·16.
    'y: 256 features for each of 32 tokens, 5120 multiply-adds a token',
    ...['dx: 2048 values', 'dv: 1024 values', 'du: 4096 values', 'dbias: 256 values'],
    'the same map as one dense matrix: 16384 weights instead of 5120',
    '',
  ]);
});

test('text from a checkpoint', () => {
  const train = join(folder, 'train.bin');
  writeFileSync(train, new Uint8Array(Uint16Array.from({ length: 200 }, (_, i) => 97 + (i % 5)).buffer));
  const checkpoint = join(folder, 'checkpoint');
  using trainer = new Trainer({
    model: { vocabSize: 257, dModel: 16, nLayers: 1, nHeads: 2, seqLen: 16 },
    data: { train, dtype: 'uint16' },
    tokenizer: 'byte',
    steps: 1,
    batchSize: 1,
    learningRate: 1e-3,
  });
  trainer.save(checkpoint);
  const text = run('generate.mjs', checkpoint, 'abc');
  expect(text).toMatch(/^abc/);
  expect(text.length).toBeGreaterThan(20);
});
