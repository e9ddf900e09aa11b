/** Where runs go, and what is refused before their first step. */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lock } from '../../lib/io/lock';
import { cli, folder, jsonLines, writeText } from './support';

// Other processes, on a machine that may be busy.
jest.setTimeout(120_000);

const text = writeText('text.txt', 300, 6);
const train = (...args: string[]) =>
  cli(['train', '--preset', 'tiny', '--tokenizer', 'byte', '--seq-len', '32', '--data', text, '--json', ...args]);
const runs = join(folder, 'runs');
const stepOf = (out: string): number => JSON.parse(readFileSync(join(out, 'checkpoint', 'trainer.json'), 'utf8')).step;

test('runs are numbered, and runs/latest is the last that has a checkpoint', () => {
  for (const [i, steps] of ['1', '2'].entries()) {
    expect(train('--steps', steps)).toMatchObject({ status: 0, stderr: '' });
    expect(readlinkSync(join(runs, 'latest'))).toBe(String(i + 1));
  }
  expect(['1', '2', 'latest'].map((name) => stepOf(join(runs, name)))).toEqual([1, 2, 2]);
  expect(readdirSync(runs).sort()).toEqual(['1', '2', 'latest']);
});

test('a run/latest that is a folder stays as it is', () => {
  rmSync(join(runs, 'latest'));
  mkdirSync(join(runs, 'latest'));
  writeFileSync(join(runs, 'latest', 'mine'), '');
  const result = cli(['train', '--preset', 'tiny', '--tokenizer', 'byte', '--data', text, '--steps', '1']);
  expect(result).toMatchObject({ status: 0, stderr: expect.stringContaining('is not a link') });
  expect(readdirSync(join(runs, 'latest'))).toEqual(['mine']);
  expect(stepOf(join(runs, '3'))).toBe(1);
  rmSync(runs, { recursive: true });
});

test('a run that is there is replaced with --force only', () => {
  const out = join(folder, 'mine');
  expect(train('--steps', '3', '--out', `${out}/`)).toMatchObject({ status: 0 });
  const again = train('--steps', '1', '--out', out);
  expect(again).toMatchObject({ status: 2, stdout: '' });
  expect(again.stderr).toContain('it holds a run; --resume');
  expect(stepOf(out)).toBe(3);
  expect(train('--steps', '1', '--out', out, '--force')).toMatchObject({ status: 0 });
  expect(stepOf(out)).toBe(1);
});

test('a folder belongs to one run at a time', () => {
  const out = join(folder, 'shared');
  using _ = lock(out, 0, join(out, 'run.lock'));
  expect(train('--steps', '1', '--out', out)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining(`process ${process.pid} is using it`),
  });
  expect(readdirSync(out)).toEqual(['run.lock']);
});

describe('before the first step', () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  test.each<[string, string[], string, number]>([
    ['an --out that is a file', ['--out', file], 'it is a file', 2],
    ['an --out below a file', ['--out', join(file, 'x')], 'a part of the path is a file', 1],
    ['a report that cannot be written', ['--report', join(file, 'x.html')], 'a part of the path is a file', 1],
    ['a report that is a folder', ['--report', folder], 'it is a folder', 1],
    ['a model beyond the memory', ['--layers', '100000000'], 'a smaller model', 2],
    ['a batch beyond the memory', ['--batch-size', '1000000000'], 'a smaller batchSize', 2],
  ])('%s is refused', (_, args, message, status) => {
    const result = train('--steps', '2', ...args);
    expect(result).toMatchObject({ status, stderr: expect.stringContaining(message) });
    expect(result.stdout).toBe('');
  });

  test('a sample without a token, and one longer than the context', () => {
    const args = ['train', '--preset', 'tiny', '--tokenizer', 'byte', '--data', text, '--steps', '1', '--sample'];
    for (const sample of ['', 'x'.repeat(65)]) {
      const result = cli([...args, sample]);
      expect(result).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('--sample: expected a text of 1 to 64'),
      });
      expect(result.stderr).not.toContain('step 1');
    }
  });

  test('too little text to evaluate on', () => {
    const little = join(folder, 'little.txt');
    writeFileSync(little, 'a few words\n'.repeat(10));
    const result = cli([
      'train',
      '--preset',
      'tiny',
      '--tokenizer',
      'byte',
      '--data',
      little,
      '--steps',
      '1',
      '--json',
    ]);
    expect(result).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('too few') });
  });
});

test('--resume saves where it was resumed from', () => {
  const out = join(folder, 'mine');
  const result = cli(['train', '--resume', join(out, 'checkpoint'), '--json']);
  expect(result).toMatchObject({ status: 0, stderr: '' });
  expect(jsonLines(result.stdout).find(({ type }) => type === 'checkpoint')).toMatchObject({
    folder: join(out, 'checkpoint'),
  });
});
