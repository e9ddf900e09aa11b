/**
 * The contract of every entry point: whatever is passed for an argument, an exported function or class either takes it or throws
 * an SffnError, at once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as lib from '../lib';
import { SffnError, tensor, zeros } from '../lib';
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

/** Values that one argument or another does not take, made anew for each call. */
const VALUES: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  text: () => 'a',
  'empty text': () => '',
  'a path with a zero': () => 'a\0b',
  'a number': () => 5,
  'a fraction': () => 1.5,
  NaN: () => Number.NaN,
  'a negative number': () => -1,
  '2^53': () => 2 ** 53,
  'a bigint': () => 1n,
  'a symbol': () => Symbol('s'),
  true: () => true,
  'a function': () => () => 1,
  'an object': () => ({}),
  'an object without prototype': () => Object.create(null),
  'an unknown option': () => ({ nonsense: 1 }),
  'an empty array': () => [],
  'an array with a hole': () => [1, ...new Array(1), 2],
  'an array of null': () => [null],
  'an array of symbols': () => [Symbol('s')],
  'a shape of 2^62': () => [2 ** 31, 2 ** 31],
  'a tensor': () => tensor([1, 2]),
  'an int32 tensor': () => tensor(Int32Array.of(1, 2)),
  'a disposed tensor': () => {
    const x = tensor([1]);
    x.dispose();
    return x;
  },
  'many rows of nothing': () => zeros([2 ** 31, 0]),
  'a Float64Array': () => new Float64Array(2),
  'a Map': () => new Map([['a', 1]]),
  'a Date': () => new Date(0),
};

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

/** Takes the beginning of its messages first, which is text by its type and no input. */
const TAKES_WHERE = ['. checkDevice', '. checkDeviceName', '. checkActivation', '. linearDims', 'nn checkStructure'];

test.each(callables)('%s', async (name, value) => {
  const found: string[] = [];
  for (const [what, make] of Object.entries(VALUES))
    for (const args of argumentLists(make)) {
      const given = TAKES_WHERE.includes(name) ? ['where', ...args.slice(1)] : args;
      const error = await outcome(value, given);
      if (error !== null && !(error instanceof SffnError)) found.push(`argument ${args.length}, ${what}: ${error}`);
    }
  expect(found).toEqual([]);
});
