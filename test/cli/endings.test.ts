/** How runs end: by signals, without a reader, on a full disk. Each saves, tells by its code, and can go on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cli, folder, MAIN, writeText } from './support';

// Other processes, on a machine that may be busy.
jest.setTimeout(120_000);

const text = writeText('text.txt', 300, 5);
const ENDLESS = ['train', '--preset', 'tiny', '--tokenizer', 'byte', '--seq-len', '32', '--batch-size', '4'];
const run = (out: string): string[] => [MAIN, ...ENDLESS, '--data', text, '--steps', '100000', '--json', '--out', out];

const stepOf = (out: string): number => JSON.parse(readFileSync(join(out, 'checkpoint', 'trainer.json'), 'utf8')).step;

/** When the first step is told. */
async function firstStep({ stdout }: ChildProcess): Promise<void> {
  for (let told = ''; !told.includes('"type":"step"'); ) {
    const [piece] = await once(stdout!, 'data');
    told += piece;
  }
}

test.each([
  ['SIGTERM', 143],
  ['SIGHUP', 129],
  ['SIGINT', 130],
] as const)('%s finishes the step, saves and exits with %i', async (signal, code) => {
  const out = join(folder, signal);
  const child = spawn(process.execPath, run(out), { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] });
  await firstStep(child);
  child.stdout!.resume();
  child.kill(signal);
  expect(await once(child, 'close')).toEqual([code, null]);
  expect(stepOf(out)).toBeGreaterThan(0);
  expect(cli(['eval', join(out, 'checkpoint'), '--data', text]).status).toBe(0);
});

test('a run whose reader is gone saves and exits with 141', async () => {
  const out = join(folder, 'pipe');
  const child = spawn(process.execPath, run(out), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr!.on('data', (piece: Buffer) => {
    errors += piece;
  });
  await firstStep(child);
  child.stdout!.destroy();
  expect(await once(child, 'close')).toEqual([141, null]);
  expect(errors).toBe('');
  expect(stepOf(out)).toBeGreaterThan(0);
});

test('a run whose output finds no space saves, says so once and exits with 1', async () => {
  if (!existsSync('/dev/full')) return;
  const out = join(folder, 'full');
  const child = spawn(process.execPath, run(out), {
    cwd: folder,
    stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
  });
  let errors = '';
  child.stderr!.on('data', (piece: Buffer) => {
    errors += piece;
  });
  expect(await once(child, 'close')).toEqual([1, null]);
  expect(errors.match(/error: standard output: ENOSPC/g)).toHaveLength(1);
  expect(stepOf(out)).toBeGreaterThan(0);
});

test('other commands end in silence when their reader is gone', async () => {
  const checkpoint = join(folder, 'SIGTERM', 'checkpoint');
  const args = [MAIN, 'generate', checkpoint, '--prompt', 'the ship', '--max-new-tokens', '3000'];
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr!.on('data', (piece: Buffer) => {
    errors += piece;
  });
  await once(child.stdout!, 'data');
  child.stdout!.destroy();
  expect(await once(child, 'close')).toEqual([141, null]);
  expect(errors).toBe('');
});
