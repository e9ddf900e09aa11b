/** Real processes: killed while they save, and saving and reading at the same time. STRUCTURED_FFN_LONG=1 makes many rounds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lock } from '../../lib/io/lock';
import { TestRandom } from '../support/random';
import { loadNumber, saveNumber } from './checkpoints';

const LONG = process.env.STRUCTURED_FFN_LONG === '1';
const root = mkdtempSync(join(tmpdir(), 'sffn-processes-'));
const folder = join(root, 'checkpoint');
afterAll(() => rmSync(root, { recursive: true }));

interface Writer {
  readonly child: ChildProcess;
  /** The last number that it told. */
  readonly last: () => number;
}

function startWriter(first: number, count: number): Writer {
  const child = spawn(process.execPath, [join(__dirname, 'writer.cjs'), folder, String(first), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout!.on('data', (piece: Buffer) => {
    text += piece;
  });
  return { child, last: () => Number(text.trimEnd().split('\n').at(-1) || first - 1) };
}

/** Lets a writer save a few times, kills it at some moment, and returns the last number that it told. */
async function killedWriter(first: number, random: TestRandom): Promise<number> {
  const { child, last } = startWriter(first, 1e6);
  await once(child.stdout!, 'data');
  await sleep(random.int(0, 40));
  child.kill('SIGKILL');
  await once(child, 'close');
  return last();
}

test('a killed process never costs the last good checkpoint, nor do two in a row', async () => {
  const random = new TestRandom(17);
  let value = 1;
  for (let round = 0; round < (LONG ? 200 : 4); round++)
    for (let kill = 0; kill < 2; kill++) {
      const told = await killedWriter(value, random);
      const loaded = loadNumber(folder);
      // The one after the last told may have been complete already.
      expect([told, told + 1]).toContain(loaded);
      value = loaded + 1;
    }
  saveNumber(folder, value);
  expect(readdirSync(root)).toEqual(['checkpoint']);
}, 600_000);

test('processes that save to one folder at a time do not disturb each other, and a reader never sees a mix', async () => {
  const saves = LONG ? 300 : 25;
  const writers = [1e4, 2e4, 3e4].map((first) => startWriter(first, saves));
  const closed = Promise.all(writers.map(({ child }) => once(child, 'close')));
  let running = true;
  void closed.then(() => {
    running = false;
  });
  let reads = 0;
  saveNumber(folder, 1);
  while (running) {
    loadNumber(folder);
    reads++;
    await sleep(0);
  }
  expect((await closed).map(([status]) => status)).toEqual([0, 0, 0]);
  expect(writers.map(({ last }) => last() % 1e4)).toEqual([saves - 1, saves - 1, saves - 1]);
  expect(reads).toBeGreaterThan(1);
  expect(readdirSync(root)).toEqual(['checkpoint']);
}, 600_000);

test('a lock names its holder, and is free when it is released or its process is gone', async () => {
  const path = join(root, 'locked');
  {
    using _ = lock(path, 0);
    expect(() => lock(path, 0)).toThrow(`process ${process.pid} is using it`);
  }
  lock(path, 0)[Symbol.dispose]();
  expect(readdirSync(root)).toEqual(['checkpoint']);
});
