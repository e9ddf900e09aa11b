/** Saving under every fault: at each call that changes the disk, alone and in pairs (all with STRUCTURED_FFN_LONG=1). */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError } from '../../lib';
import { loadNumber, saveNumber } from './checkpoints';
import { countCalls, crashAt, failAt } from './faults';

// Thousands of small writes, on a disk that may be busy.
jest.setTimeout(120_000);

const root = mkdtempSync(join(tmpdir(), 'sffn-faults-'));
afterAll(() => rmSync(root, { recursive: true }));
const folder = join(root, 'checkpoint');

/** The calls of a save that replaces a checkpoint; one that finds leftovers makes more. */
const CALLS = countCalls(() => {
  saveNumber(folder, 1);
  saveNumber(folder, 2);
});

function begin(value: number | null): void {
  rmSync(root, { recursive: true });
  mkdirSync(root);
  if (value !== null) countCalls(() => saveNumber(folder, value));
}

/** What is there can be loaded and replaced, and nothing is left beside it. */
function expectGood(values: readonly number[]): void {
  expect(values).toContain(loadNumber(folder));
  countCalls(() => saveNumber(folder, 99));
  expect(loadNumber(folder)).toBe(99);
  expect(readdirSync(root)).toEqual(['checkpoint']);
}

test('a crash at any call leaves the old checkpoint or the new one', () => {
  for (let n = 1; ; n++) {
    begin(1);
    const crashed = crashAt(n, () => saveNumber(folder, 2));
    expectGood(crashed ? [1, 2] : [2]);
    if (!crashed) break;
    expect(n).toBeLessThan(CALLS);
  }
});

test('a crash of the very first save leaves none or a whole one', () => {
  for (let n = 1; ; n++) {
    begin(null);
    if (!crashAt(n, () => saveNumber(folder, 2))) break;
    try {
      expect(loadNumber(folder)).toBe(2);
    } catch (error) {
      expect((error as Error).message).toContain('no such checkpoint');
    }
    saveNumber(folder, 3);
    expect(readdirSync(root)).toEqual(['checkpoint']);
    expect(loadNumber(folder)).toBe(3);
  }
});

/** Not all pairs where it must be quick; each call is in many of those that are left. */
const STRIDE = process.env.STRUCTURED_FFN_LONG === '1' ? 1 : 7;

test('two crashes in a row, at any calls, never lose the last good one', () => {
  let pairs = 0;
  for (let i = 1; ; i++) {
    let first = true;
    for (let j = 1 + (i % STRIDE); ; j += STRIDE) {
      begin(1);
      first = crashAt(i, () => saveNumber(folder, 2));
      const between = loadNumber(folder);
      const second = crashAt(j, () => saveNumber(folder, 3));
      expectGood(second ? [between, 3] : [3]);
      pairs++;
      if (!second) break;
    }
    if (!first) break;
  }
  expect(pairs).toBeGreaterThan(CALLS);
}, 600_000);

test.each(['ENOSPC', 'EIO', 'EROFS'])('%s at any call is a file error, and the old checkpoint stays', (code) => {
  for (const stays of [false, true])
    for (let n = 1; ; n++) {
      begin(1);
      let failed = false;
      try {
        failAt(n, code, stays, () => saveNumber(folder, 2));
      } catch (error) {
        failed = true;
        expect(error).toBeInstanceOf(FileError);
        expect((error as Error).message).toContain(folder);
      }
      expectGood(failed ? [1, 2] : [2]);
      if (n > CALLS) break;
    }
});
