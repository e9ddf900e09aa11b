/** generate, convert and tune on a small checkpoint. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Trainer } from '../../lib/train';
import { cli, folder } from './support';

const checkpoint = join(folder, 'model');
const table = join(folder, 'crossovers.json');
const environment = { STRUCTURED_FFN_TABLE: table };

beforeAll(() => {
  const train = join(folder, 'train.bin');
  writeFileSync(train, new Uint8Array(Uint16Array.from({ length: 200 }, (_, i) => 97 + (i % 5)).buffer));
  const ffn = { structure: 'lowrank', rank: 4 } as const;
  using trainer = new Trainer({
    model: { vocabSize: 257, dModel: 16, nLayers: 2, nHeads: 2, seqLen: 32, ffn },
    data: { train, dtype: 'uint16' },
    tokenizer: 'byte',
    steps: 1,
    batchSize: 1,
    learningRate: 1e-3,
  });
  trainer.save(checkpoint);
});

const generate = (...args: string[]) =>
  cli(['generate', checkpoint, '--prompt', 'abc', '--max-new-tokens', '9', '--temperature', '0', ...args], environment);

test('auto measures what it does not know, keeps it, and reports what it chose', () => {
  const first = generate('--dispatch', 'auto');
  expect(first).toMatchObject({ status: 0, stderr: expect.stringMatching(/dispatch: \d+ layer calls factored/) });
  const measured = readFileSync(table, 'utf8');
  expect(Object.keys(Object.values<object>(JSON.parse(measured).machines)[0]!)).toHaveLength(2);
  expect(generate('--dispatch', 'auto').stdout).toBe(first.stdout);
  expect(readFileSync(table, 'utf8')).toBe(measured);
  for (const dispatch of ['factored', 'merged']) expect(generate('--dispatch', dispatch).stdout).toBe(first.stdout);
  const none = generate('--dispatch', 'merged', '--merge-budget', '0');
  expect(none.stderr).toMatch(/, 0 merged; 0\.0 MB of merged copies/);
}, 60_000);

test('keys and values are kept in the type that is asked for', () => {
  const { stdout } = generate();
  for (const dtype of ['float32', 'bfloat16'])
    expect(generate('--cache-dtype', dtype)).toMatchObject({ status: 0, stdout });
}, 60_000);

test('a corrupt table is refused and tune replaces it', () => {
  writeFileSync(table, 'oops');
  expect(generate('--dispatch', 'auto')).toMatchObject({ status: 1, stdout: '' });
  const tuned = cli(['tune', checkpoint], environment);
  expect(tuned).toMatchObject({ status: 0, stderr: '' });
  expect(tuned.stdout).toMatch(/1 tokens: factored [\d.]+ us, merged [\d.]+ us/);
  expect(readFileSync(`${table}.corrupt`, 'utf8')).toBe('oops');
  expect(generate('--dispatch', 'auto').status).toBe(0);
}, 60_000);

test('convert writes a checkpoint that generate and eval take', () => {
  const out = join(folder, 'small');
  expect(cli(['convert', checkpoint, '--dtype', 'int8', '--out', out])).toMatchObject({ status: 0, stderr: '' });
  const small = cli(['generate', out, '--prompt', 'abc', '--max-new-tokens', '3']);
  expect(small).toMatchObject({ status: 0, stdout: expect.stringMatching(/^abc/) });
  const rounded = cli(['generate', out, '--prompt', 'abc', '--max-new-tokens', '3', '--activations', 'int8']);
  expect(rounded).toMatchObject({ status: 0, stdout: expect.stringMatching(/^abc/) });
  expect(cli(['eval', out, '--tokens', join(folder, 'train.bin')]).status).toBe(0);
  const again = cli(['convert', checkpoint, '--dtype', 'int8', '--out', out]);
  expect(again).toMatchObject({ status: 2, stderr: expect.stringMatching(/it exists already/) });
}, 60_000);

test.each<[string, string[], number, RegExp]>([
  ['an empty prompt', ['--prompt', ''], 2, /prompt: expected at least one token/],
  ['a prompt longer than the context', ['--prompt', 'a'.repeat(33)], 2, /at most 32 tokens/],
  ['an unknown dtype', ['--dtype', 'int4'], 2, /Allowed choices are/],
  ['an unknown dtype of the cache', ['--cache-dtype', 'int8'], 2, /Allowed choices are float32, bfloat16/],
  ['int8 rows without int8 weights', ['--activations', 'int8'], 2, /--activations: expected 'float32' with weights in/],
  ['an unknown type of rows', ['--activations', 'int4'], 2, /Allowed choices are/],
  ['a wrong probability', ['--top-p', '7'], 2, /--top-p: /],
])('refuses %s', (_, args, status, message) => {
  const result = cli(['generate', checkpoint, '--prompt', 'abc', ...args]);
  expect(result).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(message) });
});

test('a checkpoint of another architecture', () => {
  const other = join(folder, 'other');
  cli(['convert', checkpoint, '--dtype', 'bfloat16', '--out', other]);
  rmSync(join(other, 'manifest.json'));
  const path = join(other, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8'));
  const generateOther = () => cli(['generate', other, '--prompt', 'abc']);
  writeFileSync(path, JSON.stringify({ ...config, model: { ...config.model, nLayers: 3 } }));
  expect(generateOther()).toMatchObject({ status: 1, stderr: expect.stringMatching(/missing: blocks\.2/) });
  writeFileSync(path, JSON.stringify({ architectures: ['LlamaForCausalLM'] }));
  expect(generateOther()).toMatchObject({ status: 1, stderr: expect.stringMatching(/not the config of/) });
  expect(existsSync(join(other, 'model.safetensors'))).toBe(true);
}, 60_000);
