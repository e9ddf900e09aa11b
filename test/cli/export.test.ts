/** `export`: the files it writes, and what it refuses, with nothing lost. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Trainer } from '../../lib/train';
import { CONFIG } from '../train/support';
import { cli, folder, MAIN, writeText } from './support';

const text = writeText('text.txt', 100, 1);
const SMALL = ['--preset', 'tiny', '--seq-len', '16', '--batch-size', '2', '--data', text];
const checkpoint = join(folder, 'run', 'checkpoint');
beforeAll(() => {
  const args = [...SMALL, '--steps', '2', '--tokenizer', 'bpe:280', '--out', join(folder, 'run')];
  expect(cli(['train', ...args])).toMatchObject({ status: 0 });
});
const place = (name: string) => join(folder, name);
const run = (from: string, format: string, out: string, ...args: string[]) =>
  cli(['export', from, '--format', format, '--out', place(out), ...args]);
const contents = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));

const CONFIGS = ['config.json', 'generation_config.json'];
const TOKENIZER = ['tokenizer.json', 'tokenizer_config.json'];

test('onnx', () => {
  const graphOf = (...path: string[]) => readFileSync(join(place(''), ...path, 'model.onnx'), 'latin1');
  const result = run(checkpoint, 'onnx', 'onnx');
  expect(result).toMatchObject({ status: 0, stderr: '' });
  expect(result.stdout).toMatch(/onnx: .*onnx\/model.onnx \([\d,]+ bytes\)/);
  expect(readdirSync(place('onnx')).sort()).toEqual([...CONFIGS, 'onnx', ...TOKENIZER]);
  const graph = graphOf('onnx', 'onnx');
  for (const name of ['past_key_values.1.value', 'present.0.key', 'blocks.1.ffn.fc1.v']) expect(graph).toContain(name);
  expect(run(checkpoint, 'onnx', 'cache', '--cache')).toMatchObject({ status: 0, stderr: '' });
  expect(graphOf('cache', 'onnx')).toBe(graph);
  expect(run(checkpoint, 'onnx', 'merged', '--weights', 'merged', '--no-cache')).toMatchObject({ status: 0 });
  const merged = graphOf('merged');
  for (const name of ['past_key_values', 'blocks.1.ffn.fc1.v']) expect(merged).not.toContain(name);
  expect(readdirSync(place('merged')).sort()).toEqual(['model.onnx', ...TOKENIZER]);
});

test('hf, with the tokenizer of the run', () => {
  expect(run(checkpoint, 'hf', 'hf')).toMatchObject({ status: 0, stderr: '' });
  expect(readdirSync(place('hf')).sort()).toEqual([...CONFIGS, 'model.safetensors', ...TOKENIZER]);
  const tokenizer = readFileSync(join(checkpoint, 'tokenizer.json'), 'utf8');
  expect(readFileSync(join(place('hf'), 'tokenizer.json'), 'utf8')).toBe(tokenizer);
  const { vocab } = JSON.parse(tokenizer).model;
  expect(JSON.parse(readFileSync(join(place('hf'), 'config.json'), 'utf8'))).toMatchObject({
    vocab_size: Object.keys(vocab).length + 1,
    eos_token_id: Object.keys(vocab).length,
  });
});

test('a checkpoint from before the hand-over needs merged weights', async () => {
  const guided = place('guided');
  using trainer = new Trainer({ ...CONFIG, guidance: {} });
  await trainer.takeStep();
  trainer.save(guided);
  const refused = run(guided, 'onnx', 'guided-onnx');
  expect(refused).toMatchObject({ status: 2, stdout: '' });
  expect(refused.stderr).toContain('the guides still count');
  expect(existsSync(place('guided-onnx'))).toBe(false);
  expect(run(guided, 'onnx', 'guided-onnx', '--weights', 'merged')).toMatchObject({ status: 0, stderr: '' });
});

test('a folder with files needs --force, which replaces those of the same names only', () => {
  const out = place('full');
  mkdirSync(out);
  writeFileSync(join(out, 'config.json'), '{}');
  writeFileSync(join(out, 'notes.txt'), 'mine');
  const refused = run(checkpoint, 'hf', 'full');
  expect(refused).toMatchObject({ status: 1, stdout: '' });
  expect(refused.stderr).toMatch(/full: it is not empty/);
  expect(Object.keys(contents(out)).sort()).toEqual(['config.json', 'notes.txt']);
  expect(run(checkpoint, 'hf', 'full', '--force')).toMatchObject({ status: 0, stderr: '' });
  expect(readdirSync(out).sort()).toEqual([...CONFIGS, 'model.safetensors', 'notes.txt', ...TOKENIZER]);
  expect(readFileSync(join(out, 'notes.txt'), 'utf8')).toBe('mine');
  expect(readFileSync(join(out, 'config.json'), 'utf8')).toContain('starcoder2');
});

test('an empty folder is taken; a checkpoint is never overwritten', () => {
  mkdirSync(place('empty'));
  expect(run(checkpoint, 'hf', 'empty')).toMatchObject({ status: 0 });
  const before = contents(checkpoint);
  const result = cli(['export', checkpoint, '--format', 'hf', '--out', checkpoint, '--force']);
  expect(result).toMatchObject({ status: 1, stdout: '' });
  expect(result.stderr).toContain('it holds a checkpoint of structured-ffn');
  expect(contents(checkpoint)).toEqual(before);
});

test('when the disk is full, what was there stays', () => {
  const out = place('full-disk');
  expect(run(checkpoint, 'hf', 'full-disk')).toMatchObject({ status: 0 });
  const before = contents(out);
  // A limit on the size of files stands for a disk without space: the write fails in the middle.
  const command = `trap '' XFSZ; ulimit -f 32; exec "$0" "$@"`;
  const args = [MAIN, 'export', checkpoint, '--format', 'hf', '--out', out, '--force'];
  const { status, stderr } = spawnSync('bash', ['-c', command, process.execPath, ...args], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(/cannot write .*model\.safetensors: the file is too large/),
  ]);
  expect(contents(out)).toEqual(before);
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test.each<[string, string[], number, RegExp]>([
  ['no format', [checkpoint, '--out', place('x')], 2, /required option '--format/],
  ['an unknown format', [checkpoint, '--format', 'gguf', '--out', place('x')], 2, /Allowed choices are onnx, hf/],
  ['no folder', [checkpoint, '--format', 'hf'], 2, /required option '--out/],
  ['factors in hf', [checkpoint, '--format', 'hf', '--weights', 'factored', '--out', place('x')], 2, /always merged/],
  ['a cache in hf', [checkpoint, '--format', 'hf', '--cache', '--out', place('x')], 2, /for onnx only/],
  [
    'no cache in hf',
    [checkpoint, '--format', 'hf', '--no-cache', '--out', place('x')],
    2,
    /--no-cache: .* for onnx only/,
  ],
  ['a checkpoint that is not there', [place('none'), '--format', 'hf', '--out', place('x')], 1, /no such checkpoint/],
  ['a place below a file', [checkpoint, '--format', 'hf', '--out', join(text, 'x')], 1, /a part of the path is a file/],
  ['a file as the place', [checkpoint, '--format', 'hf', '--out', text], 1, /a part of the path is a file/],
])('%s', (_name, args, status, message) => {
  const result = cli(['export', ...args]);
  expect(result).toMatchObject({ status, stdout: '' });
  expect(result.stderr).toMatch(message);
  expect(existsSync(place('x'))).toBe(false);
});
