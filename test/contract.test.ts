/**
 * The contract of every entry point: whatever is passed for an argument, an exported function or class, or a method of it, either
 * takes it or throws an SffnError, at once, and the instance goes on. After `dispose` every method throws DisposedError.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as lib from '../lib';
import { DisposedError, OptionError, SffnError, tensor } from '../lib';
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
import { DEVICE_RECIPES, MADE, RECIPES, type Recipe } from './support/instances';
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

const isGenerator = (value: unknown): value is Generator | AsyncGenerator =>
  value !== null && typeof value === 'object' && /Generator$/.test(Object.prototype.toString.call(value).slice(8, -1));

/** What it throws, now or later; null for nothing. */
async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    const result = await call();
    if (isGenerator(result)) await result.next();
    return null;
  } catch (error) {
    return error;
  }
}

/** Null for no error, and for one of ours whose message says for what, what was expected, and what came. */
function faultOf(error: unknown): string | null {
  if (error === null) return null;
  if (!(error instanceof SffnError)) return String(error);
  const told = !(error instanceof OptionError) || /^\S.*: (expected .+, got |unknown option of )/s.test(error.message);
  return told ? null : `it does not say what was expected: ${error.message}`;
}

/** Calls it and takes what it gives later, too. */
const outcome = (value: Callable, args: unknown[]): Promise<unknown> =>
  failureOf(() => (isClass(value) ? Reflect.construct(value, args) : value(...args)));

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
      const fault = faultOf(await outcome(value, given));
      if (fault !== null) found.push(`argument ${args.length}, ${what}: ${fault}`);
    }
  expect(found).toEqual([]);
});

const classes = callables
  .filter(([, value]) => isClass(value))
  .map(([name, value]): [string, Callable] => [name.split(' ')[1]!, value]);

test('every exported class has an instance to be tried', () => {
  const names = classes.map(([name]) => name);
  expect([...Object.keys(RECIPES), ...Object.keys(DEVICE_RECIPES)].sort()).toEqual(names.sort());
  for (const [name, value] of classes) if (RECIPES[name]) expect(RECIPES[name].make()).toBeInstanceOf(value);
});

/** The static methods of a class take what is wrong as functions do. */
const statics = classes.flatMap(([name, value]) =>
  Object.getOwnPropertyNames(value)
    .filter((key) => typeof Reflect.get(value, key) === 'function')
    .map((key): [string, Callable] => [
      `${name}.${key}`,
      (...args) => Reflect.apply(Reflect.get(value, key), value, args),
    ]),
);

test.each(statics)('%s', async (_, value) => {
  const found: string[] = [];
  for (const [what, make] of Object.entries(VALUES))
    for (const args of argumentLists(make)) {
      const fault = faultOf(await outcome(value, args));
      if (fault !== null) found.push(`argument ${args.length}, ${what}: ${fault}`);
    }
  expect(found).toEqual([]);
});

const DISPOSERS = ['dispose', 'close', 'abort'];
/** Methods and accessors with those that are inherited, by name. */
function membersOf(instance: object): Map<string, PropertyDescriptor> {
  const members = new Map<string, PropertyDescriptor>();
  for (let at = Object.getPrototypeOf(instance); at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at))
      if (name !== 'constructor' && !members.has(name)) members.set(name, Object.getOwnPropertyDescriptor(at, name)!);
  return members;
}

const call = (instance: object, name: string, args: readonly unknown[] = []): unknown =>
  Reflect.apply(Reflect.get(instance, name) as Callable, instance, args);

const isPlain = (value: unknown): value is object =>
  value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype;

/** `good` with a wrong value in the place of each argument, and of each property and element in it. */
function* spoilt(good: () => readonly unknown[], make: () => unknown): Generator<[string, unknown[]]> {
  const model = good();
  for (let i = 0; i <= model.length; i++) {
    const around = (value: (given: unknown) => unknown): unknown[] => {
      const args = [...good()];
      args[i] = value(args[i]);
      return args;
    };
    yield [`argument ${i}`, around(() => make())];
    const given = model[i];
    if (isPlain(given))
      for (const key of Object.keys(given))
        yield [`argument ${i}.${key}`, around((object) => ({ ...(object as object), [key]: make() }))];
    if (Array.isArray(given)) {
      yield [`argument ${i}[0]`, around(() => [make()])];
      if (isPlain(given[0]))
        for (const key of Object.keys(given[0]))
          yield [`argument ${i}[0].${key}`, around((list) => [{ ...(list as object[])[0], [key]: make() }])];
    }
  }
}

const recipes = [...Object.entries(RECIPES), ...Object.entries(DEVICE_RECIPES), ...Object.entries(MADE)].filter(
  (entry): entry is [string, Recipe] => entry[1] !== null,
);

describe.each(recipes)('%s', (_, { make, use, args = {}, internal = [], after }) => {
  const instance = make();
  const members = membersOf(instance);
  use(instance);
  after?.(instance);

  const left = [...DISPOSERS, ...internal];
  const methods = [...members].flatMap(([name, { value }]) =>
    typeof value === 'function' && !left.includes(name) ? [name] : [],
  );
  test.each(methods)('%s', async (name) => {
    const of = make();
    const good = () => args[name]?.(of) ?? [];
    const found: string[] = [];
    for (const [what, wrong] of Object.entries(VALUES))
      for (const [where, list] of spoilt(good, wrong)) {
        const fault = faultOf(await failureOf(() => call(of, name, list)));
        if (fault !== null) found.push(`${where}, ${what}: ${fault}`);
      }
    expect(found).toEqual([]);
    await use(of);
    after?.(of);
  });

  const settable = [...members].flatMap(([name, { set }]) => (set === undefined ? [] : [name]));
  if (settable.length > 0)
    test.each(settable)('%s may be set', async (name) => {
      const of = make();
      const found: string[] = [];
      for (const [what, wrong] of Object.entries(VALUES)) {
        const fault = faultOf(await failureOf(() => Reflect.set(of, name, wrong())));
        if (fault !== null) found.push(`${what}: ${fault}`);
      }
      expect(found).toEqual([]);
      await use(of);
      after?.(of);
    });

  const disposers = [
    ...DISPOSERS.filter((name) => members.has(name)),
    ...(Symbol.dispose in instance ? [Symbol.dispose] : []),
  ];
  if (disposers.length > 0)
    test.each(disposers)('%p may be called again, and then no method does anything', async (name) => {
      const of = make();
      const good = Object.fromEntries(Object.entries(args).map(([method, list]) => [method, list(of)]));
      const dispose = Reflect.get(of, name) as Callable;
      for (let i = 0; i < 2; i++) Reflect.apply(dispose, of, []);
      const alive: string[] = [];
      for (const method of methods)
        for (const list of [[], good[method] ?? []]) {
          const error = await failureOf(() => call(of, method, list));
          if (!(error instanceof DisposedError)) alive.push(`${method}: ${error}`);
        }
      expect(alive).toEqual([]);
      for (const [getter, { get }] of members)
        if (get !== undefined) expect(faultOf(await failureOf(() => Reflect.get(of, getter)))).toBe(null);
      after?.(of);
    });
});
