/**
 * The contract of every entry point: whatever is passed for an argument, an exported function or class either takes it or throws
 * an SffnError, at once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as lib from '../lib';
import { SffnError, tensor } from '../lib';
import * as data from '../lib/data';
import * as decode from '../lib/decode';
import * as exported from '../lib/export';
import * as functional from '../lib/functional';
import * as io from '../lib/io';
import * as nn from '../lib/nn';
import * as optim from '../lib/optim';
import * as text from '../lib/text';
import * as tfjs from '../lib/tfjs';
import * as train from '../lib/train';
import { TAKES_WHERE, VALUES } from './support/wrong_values';

const ENTRIES: Readonly<Record<string, object>> = {
  '.': lib,
  data,
  decode,
  export: exported,
  functional,
  io,
  nn,
  optim,
  text,
  tfjs,
  train,
};

/** Not called: they change this process for all tests after them, or measure it for a while. */
const LEFT_OUT = ['emptyCache', 'setIsa', 'setMemoryLimit', 'setNumThreads', 'tune'];

/** Values that many first arguments take, so that a later one is looked at. */
const TAKEN: readonly (() => unknown)[] = [
  () =>
    tensor([
      [1, 2],
      [3, 4],
    ]),
  () => 2,
  () => [2, 2],
];

type Callable = (...args: unknown[]) => unknown;

const isClass = (value: Callable): boolean => /^class\b/.test(Function.prototype.toString.call(value));

/** Calls it and takes what it gives later, too. */
async function outcome(value: Callable, args: unknown[]): Promise<unknown> {
  try {
    const result = isClass(value) ? Reflect.construct(value, args) : value(...args);
    const settled = await result;
    if (settled !== null && typeof settled === 'object' && Symbol.asyncIterator in settled)
      await (settled as AsyncGenerator).next();
    return null;
  } catch (error) {
    return error;
  }
}

/** Each argument wrong, after none, one, two and three that are taken. */
function argumentLists(make: () => unknown): unknown[][] {
  const after = (count: number) => TAKEN.map((taken) => [...Array.from({ length: count }, () => taken()), make()]);
  return [[make()], [make(), make()], ...after(1), ...after(2), ...after(3)];
}

let folder: string;
const before = { folder: process.cwd(), table: process.env.STRUCTURED_FFN_TABLE };
// What is written goes there, by relative paths and by default.
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'structured-ffn-'));
  process.chdir(folder);
  process.env.STRUCTURED_FFN_TABLE = join(folder, 'crossovers.json');
});
afterAll(() => {
  process.chdir(before.folder);
  if (before.table === undefined) delete process.env.STRUCTURED_FFN_TABLE;
  else process.env.STRUCTURED_FFN_TABLE = before.table;
  rmSync(folder, { recursive: true });
});

const callables = Object.entries(ENTRIES).flatMap(([entry, exports]) =>
  Object.entries(exports)
    .filter(([name, value]) => typeof value === 'function' && !LEFT_OUT.includes(name))
    .filter(([, value]) => !(value.prototype instanceof Error))
    .map(([name, value]): [string, Callable] => [`${entry} ${name}`, value]),
);

test.each(callables)('%s', async (name, value) => {
  const found: string[] = [];
  for (const [what, make] of Object.entries(VALUES))
    for (const args of argumentLists(make)) {
      const given = TAKES_WHERE.includes(name.split(' ')[1]!) ? ['where', ...args.slice(1)] : args;
      const error = await outcome(value, given);
      if (error !== null && !(error instanceof SffnError)) found.push(`argument ${args.length}, ${what}: ${error}`);
    }
  expect(found).toEqual([]);
});
