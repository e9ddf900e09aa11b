/** Where runs go, and what is refused before their first step. */
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { lock } from '../../lib/io/lock';
import { cli, folder, jsonLines, start, writeText } from './support';

// Other processes, on a machine that may be busy.
jest.setTimeout(120_000);

const text = writeText('text.txt', 300, 6);
const other = writeText('other.txt', 200, 7);
const SMALL = ['train', '--preset', 'tiny', '--tokenizer', 'byte', '--seq-len', '32', '--json'];
const train = (...args: string[]) => cli([...SMALL, '--data', text, ...args]);
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
  symlinkSync('nothing', join(folder, 'dangling'));
  test.each<[string, string[], string, number]>([
    ['an --out that is a file', ['--out', file], 'it is a file', 2],
    ['an --out below a file', ['--out', join(file, 'x')], 'a part of the path is a file', 1],
    ['an --out that is a link to nothing', ['--out', join(folder, 'dangling')], 'it is a link to nothing', 1],
    ['an --out below a link to nothing', ['--out', join(folder, 'dangling', 'x')], 'it is a link to nothing', 1],
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

describe('the run that a new one is to replace', () => {
  const out = join(folder, 'kept');
  const checkpoint = join(out, 'checkpoint');
  const replace = [...SMALL, '--data', other, '--out', out, '--force'];
  const losses = (stdout: string) =>
    jsonLines(stdout).flatMap(({ type, loss }) => (type === 'evaluation' ? [loss] : []));
  const goOn = () => cli(['train', '--resume', checkpoint, '--json']);
  let loss: unknown[];
  beforeAll(() => {
    const first = train('--steps', '2', '--out', out);
    expect(first).toMatchObject({ status: 0 });
    loss = losses(first.stdout);
  });

  const isWhole = () => {
    const result = goOn();
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(losses(result.stdout)).toEqual(loss);
  };

  test.each<[string, string[]]>([
    ['its options', ['--lr', '-1']],
    ['its model', ['--heads', '3']],
    ['its ratio', ['--ratio', '7']],
    ['its batch', ['--batch-size', '1000000000']],
    ['its data', ['--seq-len', '100000']],
    ['its report', ['--report', folder]],
    ['its loss', ['--lr', '1e30', '--steps', '20']],
  ])('is whole after one that is refused for %s', (_, args) => {
    const before = readdirSync(out);
    expect(cli([...replace, ...args]).status).toBeGreaterThan(0);
    expect(readdirSync(out)).toEqual(before);
    isWhole();
  });

  test('is whole after one that was killed before its first checkpoint, which the next one removes', async () => {
    const child = start([...replace, '--steps', '100000']);
    child.stdout?.on('data', (piece: Buffer) => {
      if (piece.includes('"type":"step"')) child.kill('SIGKILL');
    });
    await once(child, 'close');
    expect(readdirSync(out).filter((name) => name.startsWith('tokens.'))).toHaveLength(2);
    isWhole();
    expect(cli([...replace, '--steps', '1'])).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(out)).toEqual(['checkpoint', 'options.json', expect.stringMatching(/^tokens\.\d+-/)]);
    expect(goOn()).toMatchObject({ status: 0, stderr: '' });
  });

  test('may give the new one its tokens', () => {
    const tokens = readdirSync(out).find((name) => name.startsWith('tokens.'));
    const file = join(out, tokens!, 'train.bin');
    const args = ['--tokens', file, '--init', checkpoint, '--steps', '1', '--out', out, '--force', '--json'];
    expect(cli(['train', ...args])).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(out)).toEqual(['checkpoint', 'options.json', tokens]);
    expect(goOn()).toMatchObject({ status: 0, stderr: '' });
  });

  test('counts also where a crash left only what stands for its checkpoint', () => {
    const crashed = join(folder, 'crashed');
    cpSync(checkpoint, join(crashed, 'checkpoint.1-0123456789ab.old'), { recursive: true });
    for (const args of [
      [...SMALL, '--data', text, '--out', crashed],
      ['convert', checkpoint, '--dtype', 'int8', '--out', join(crashed, 'checkpoint')],
    ])
      expect(cli(args)).toMatchObject({ status: 2, stderr: expect.stringMatching(/it holds a run|it exists already/) });
    expect(cli(['export', checkpoint, '--format', 'onnx', '--out', join(crashed, 'checkpoint')])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('it holds a checkpoint'),
    });
    expect(readdirSync(crashed)).toEqual(['checkpoint.1-0123456789ab.old']);
  });
});

describe('what is not of a run', () => {
  test('stays as it is, whatever its name', () => {
    const out = join(folder, 'with-files');
    const names = ['train.bin', 'validation.bin', 'tokenizer.json', 'tokens.bin'];
    mkdirSync(join(out, 'tokens.1-0123456789ab'), { recursive: true });
    for (const name of [...names, 'tokens.1-0123456789ab/mine']) writeFileSync(join(out, name), 'mine');
    expect(train('--steps', '1', '--out', out)).toMatchObject({ status: 0, stderr: '' });
    expect(train('--steps', '1', '--out', out, '--force')).toMatchObject({ status: 0, stderr: '' });
    for (const name of [...names, 'tokens.1-0123456789ab/mine'])
      expect(readFileSync(join(out, name), 'utf8')).toBe('mine');
  });

  test('as the checkpoint is refused before the data is read', () => {
    const out = join(folder, 'other-checkpoint');
    mkdirSync(out);
    symlinkSync('nothing', join(out, 'checkpoint'));
    const linked = cli([...SMALL, '--data', join(folder, 'nowhere'), '--out', out]);
    expect(linked).toMatchObject({ status: 1, stderr: expect.stringContaining('it is a link to nothing') });
    expect(readdirSync(out)).toEqual(['checkpoint']);
  });

  test('as the report is not replaced, and a report is', () => {
    const report = join(folder, 'notes.html');
    writeFileSync(report, 'my notes');
    const run = (name: string) => train('--steps', '1', '--out', join(folder, name), '--report', report);
    expect(run('no-report')).toMatchObject({ status: 1, stderr: expect.stringContaining('is no report') });
    expect(readFileSync(report, 'utf8')).toBe('my notes');
    expect(existsSync(join(folder, 'no-report'))).toBe(false);
    rmSync(report);
    for (const name of ['report-1', 'report-2']) expect(run(name)).toMatchObject({ status: 0 });
    expect(readFileSync(report, 'utf8')).toMatch(/^<!doctype html>/);
  });
});

describe('a checkpoint holds nothing else:', () => {
  const out = join(folder, 'closed');
  const checkpoint = join(out, 'checkpoint');
  beforeAll(() => {
    expect(train('--steps', '1', '--out', out)).toMatchObject({ status: 0 });
    symlinkSync(checkpoint, join(folder, 'alias'));
  });

  test.each<[string, string[], number]>([
    ['a run', [...SMALL, '--data', text, '--out', checkpoint], 2],
    ['a run below it', [...SMALL, '--data', text, '--out', join(checkpoint, 'a', 'b')], 2],
    ['a run below a link to it', [...SMALL, '--data', text, '--out', join(folder, 'alias', 'a')], 2],
    ['a report', [...SMALL, '--data', text, '--report', join(checkpoint, 'config.json')], 2],
    [
      'its own report',
      [...SMALL, '--data', text, '--out', join(folder, 'own'), '--report', join(folder, 'own/checkpoint/config.json')],
      2,
    ],
    ['another checkpoint', ['convert', checkpoint, '--dtype', 'int8', '--out', join(checkpoint, 'int8')], 2],
    ['an export', ['export', checkpoint, '--format', 'hf', '--out', join(checkpoint, 'hf'), '--force'], 1],
    ['a table', ['tune', checkpoint, '--table', join(checkpoint, 'config.json')], 2],
  ])('%s', (_, args, status) => {
    const names = readdirSync(checkpoint);
    expect(cli(args)).toMatchObject({
      status,
      stdout: '',
      stderr: expect.stringMatching(/ is a checkpoint; name|a checkpoint of/),
    });
    expect(readdirSync(checkpoint)).toEqual(names);
    expect(existsSync(join(folder, 'own'))).toBe(false);
  });
});

test('a refused run leaves no folder', () => {
  rmSync(runs, { recursive: true, force: true });
  const before = readdirSync(folder);
  for (const args of [
    ['--lr', '-1'],
    ['--heads', '3'],
    ['--seq-len', '100000'],
    ['--out', join(folder, 'deep', 'er'), '--heads', '3'],
  ])
    expect(train('--report', join(folder, 'pages', 'one.html'), ...args).status).toBeGreaterThan(0);
  expect(readdirSync(folder)).toEqual(before);
});

test('a run that was moved or copied goes on with its own tokens', () => {
  const [first, moved, copy] = ['first', 'moved', 'copy'].map((name) => join(folder, name)) as [string, string, string];
  expect(train('--steps', '2', '--out', first)).toMatchObject({ status: 0 });
  renameSync(first, moved);
  cpSync(moved, copy, { recursive: true });
  for (const place of [moved, copy]) {
    expect(cli(['train', '--resume', join(place, 'checkpoint'), '--json'])).toMatchObject({ status: 0, stderr: '' });
    const { config } = JSON.parse(readFileSync(join(place, 'checkpoint', 'trainer.json'), 'utf8'));
    for (const path of [config.data.train, config.data.validation]) expect(path).toMatch(`${place}/tokens.`);
  }
  // Its summary needs the tokens too.
  expect(cli(['train', '--resume', join(copy, 'checkpoint')]).stdout).toContain('bigram');
});

test('a run that goes on stays in its place when runs/latest leads elsewhere', async () => {
  rmSync(runs, { recursive: true, force: true });
  expect(train('--steps', '1')).toMatchObject({ status: 0 });
  const child = start([...SMALL, '--data', text, '--steps', '100000']);
  // Reads on: a run whose output nobody reads ends.
  const steps = (of: typeof child) =>
    new Promise<void>((resolve) => of.stdout!.on('data', (piece) => String(piece).includes('"step"') && resolve()));
  await steps(child);
  child.kill('SIGINT');
  await once(child, 'close');
  const taken = stepOf(join(runs, '2'));
  const again = start(['train', '--resume', join(runs, 'latest', 'checkpoint'), '--json']);
  await steps(again);
  expect(train('--steps', '1')).toMatchObject({ status: 0 });
  expect(readlinkSync(join(runs, 'latest'))).toBe('3');
  again.kill('SIGINT');
  await once(again, 'close');
  expect(stepOf(join(runs, '3'))).toBe(1);
  expect(stepOf(join(runs, '2'))).toBeGreaterThan(taken);
});

test('--resume saves where it was resumed from', () => {
  const out = join(folder, 'mine');
  const result = cli(['train', '--resume', join(out, 'checkpoint'), '--json']);
  expect(result).toMatchObject({ status: 0, stderr: '' });
  expect(jsonLines(result.stdout).find(({ type }) => type === 'checkpoint')).toMatchObject({
    folder: join(out, 'checkpoint'),
  });
});
