/** A run from a file of options, and the file that repeats a run. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cli, folder, jsonLines, writeText } from './support';

const text = writeText('text.txt', 600, 1);
const losses = (stdout: string) => jsonLines(stdout).flatMap(({ type, loss }) => (type === 'step' ? [loss] : []));
const file = (name: string, options: unknown): string => {
  const path = join(folder, `${name}.json`);
  writeFileSync(path, typeof options === 'string' ? options : JSON.stringify(options));
  return path;
};

const SMALL = { preset: 'tiny', tokenizer: 'byte', 'seq-len': 32, 'batch-size': 4, steps: 3, data: text };

test('a run writes the file that repeats it', () => {
  const out = join(folder, 'first');
  const flags = ['--preset', 'tiny', '--tokenizer', 'byte', '--seq-len', '32', '--batch-size', '4', '--no-bias'];
  const first = cli(['train', '--data', 'text.txt', ...flags, '--target-tokens', '400', '--json', '--out', out]);
  expect(first).toMatchObject({ status: 0, stderr: '' });
  const path = join(out, 'options.json');
  const written = JSON.parse(readFileSync(path, 'utf8'));
  expect(written).toMatchObject({ data: text, 'no-bias': true, 'target-tokens': 400, lr: 0.002 });
  for (const name of ['steps', 'guidance', 'out', 'json', 'force']) expect(written).not.toHaveProperty(name);
  const again = cli(['train', '--config', path, '--json', '--out', join(folder, 'again')]);
  expect(again).toMatchObject({ status: 0, stderr: '' });
  expect(losses(again.stdout)).toEqual(losses(first.stdout));
  expect(losses(again.stdout)).toHaveLength(3);
  expect(JSON.parse(readFileSync(join(folder, 'again', 'options.json'), 'utf8'))).toEqual(written);
});

test('options beside the file go before those in it', () => {
  const path = file('own', { ...SMALL, lr: 0.1, nblocks: [2, 4], structure: 'blockshuffle' });
  const run = (...more: string[]) => {
    const result = cli(['train', '--config', path, '--json', '--out', join(folder, 'beside'), '--force', ...more]);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    return losses(result.stdout);
  };
  const own = run();
  expect(own).toHaveLength(3);
  expect(run('--steps', '2')).toHaveLength(2);
  expect(run('--target-tokens', '128')).toHaveLength(1);
  expect(run('--seed', '5')).not.toEqual(own);
  const { config } = JSON.parse(readFileSync(join(folder, 'beside', 'checkpoint', 'trainer.json'), 'utf8'));
  expect(config).toMatchObject({ seed: 5, learningRate: 0.1, model: { ffn: { nblocks: [2, 4] } } });
});

test.each<[string, unknown, RegExp]>([
  ['a name that is none', { ...SMALL, stpes: 3 }, /stpes: unknown option of --config .*; did you mean steps\?/],
  ['a name of the process', { ...SMALL, out: 'x' }, /out: unknown option of --config/],
  ['a value that is none', { ...SMALL, structure: 'fast' }, /structure: "fast" is invalid. Allowed choices are dense/],
  ['a number that is none', { ...SMALL, steps: 2.5 }, /steps: 2.5 is invalid. It must be a whole number/],
  ['a flag that is none', { ...SMALL, untied: 'yes' }, /untied: expected true or false, got "yes"/],
  ['an object for a value', { ...SMALL, lr: {} }, /lr: expected a text or a number, got {}/],
  ['two budgets', { ...SMALL, 'target-flops': 1e9 }, /it has steps and target-flops; one of them decides/],
  ['the options of another command', { ...SMALL, command: 'eval' }, /command: expected 'train', got "eval"/],
  ['a list', [SMALL], /it is not an object of options/],
  ['no JSON', '{', /it is not JSON/],
])('%s is refused', (name, options, message) => {
  const result = cli(['train', '--config', file('bad', options)]);
  expect([name, result.status === 1 || result.status === 2]).toEqual([name, true]);
  expect(result.stderr).toMatch(message);
});

test.each(['{ "mine": true }', 'not JSON'])("a file of that name that is no run's stays: %s", (content) => {
  const out = join(folder, `foreign-${content.length}`);
  mkdirSync(out);
  const path = join(out, 'options.json');
  writeFileSync(path, content);
  const result = cli(['train', '--config', file('small', SMALL), '--out', out]);
  expect(result).toMatchObject({ status: 0 });
  expect(result.stderr).toContain(`warning: ${path} is not a run's and stays as it is`);
  expect(readFileSync(path, 'utf8')).toBe(content);
});

test('a file that is not there, and one beside --resume, are refused', () => {
  expect(cli(['train', '--config', join(folder, 'none.json')]).stderr).toContain('no such file');
  const resumed = cli(['train', '--resume', join(folder, 'none'), '--config', file('fine', SMALL)]);
  expect(resumed).toMatchObject({ status: 2 });
  expect(resumed.stderr).toContain('--config: --resume');
});
