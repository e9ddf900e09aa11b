/** native/kernels.def, native/codes.def, types/native.d.ts and the addon's exports name the same kernels, parameters and codes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { asyncKernels, kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { ACTIVATIONS } from '../../lib/ops/activation';

const ROOT = join(__dirname, '..', '..');
const read = (...path: string[]) =>
  readFileSync(join(ROOT, ...path), 'utf8').replaceAll(/\/\/.*$|\/\*[\s\S]*?\*\//gm, '');
const types = read('types', 'native.d.ts');

/** Names of parameters as types/native.d.ts groups them: operands, numbers, lists of numbers, lists of operands, models. */
type Groups = readonly [string[], string[], string[], string[], string[]];

const NUMBERS = ['int64_t', 'double', 'Activation', 'UnaryOp', 'BinaryOp', 'Reduction'];

function groupOf(type: string): number {
  if (NUMBERS.includes(type)) return 1;
  if (type === 'Ints' || type === 'Dims') return 2;
  if (type === 'Model') return 4;
  return type.endsWith('s') ? 3 : 0;
}

const kernelsOfCpp = new Map(
  [...read('native', 'kernels.def').matchAll(/KERNEL\((\w+),([^)]*)\)/g)].map(([, kernel = '', parameters = '']) => {
    const groups: Groups = [[], [], [], [], []];
    for (const parameter of parameters.split(',')) {
      const [type = '', name = ''] = parameter.trim().split(/\s+/);
      groups[groupOf(type)]?.push(name);
    }
    return [kernel, groups];
  }),
);

function kernelsOfTypes(): Map<string, Groups> {
  const body = types.match(/interface KernelCalls \{(.*?)\n\}/s)?.[1] ?? '';
  return new Map(
    [...body.matchAll(/(\w+): Call<([^>]*)>;/g)].map(([, kernel = '', parameters = '']) => {
      const groups = [...parameters.matchAll(/'([^']*)'/g)].map(([, names = '']) => names.split(' ').filter(Boolean));
      const [one = [], numbers = [], lists = [], many = [], models = []] = groups;
      return [kernel, [one, numbers, lists, many, models]];
    }),
  );
}

test('there are kernels', () => {
  expect(kernelsOfCpp.size).toBeGreaterThan(20);
});

test('the types say what the C++ says', () => {
  expect(Object.fromEntries(kernelsOfTypes())).toEqual(Object.fromEntries(kernelsOfCpp));
});

test.each(Object.entries({ kernels, asyncKernels, sync: native.kernels, async: native.async }))(
  '%s has every kernel',
  (_, table) => {
    expect(Object.keys(table)).toEqual([...kernelsOfCpp.keys()]);
    for (const kernel of Object.values(table)) expect(typeof kernel).toBe('function');
  },
);

test('a record is called by name, whatever its order', () => {
  const [x, y] = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
  kernels.copy({ y, x });
  expect(Array.from(y)).toEqual([1, 2]);
});

test.each([
  ['DTYPE', 'dtypes'],
  ['ACTIVATION', 'activations'],
  ['UNARY', 'unaryOps'],
  ['BINARY', 'binaryOps'],
  ['REDUCTION', 'reductions'],
] as const)('the codes of %s are numbered in their order', (list, exported) => {
  const lines = read('native', 'codes.def').matchAll(new RegExp(`^${list}\\((\\w+)(?:, (\\w+), \\d+)?[,)]`, 'gm'));
  const names = [...lines].map(([, name, inJavaScript]) => inJavaScript ?? name);
  const declared = types.match(new RegExp(`readonly ${exported}: Codes<\\s*'([^']*)'\\s*>`))?.[1] ?? '';
  expect(names.length).toBeGreaterThan(2);
  expect(Object.entries(native[exported])).toEqual(names.map((name, i) => [name, i]));
  expect(declared.split(' ')).toEqual(names);
});

test('the activations of layers are those of the kernels', () => {
  expect(ACTIVATIONS).toEqual(Object.keys(native.activations));
});

test('the addon exports what the types declare, and nothing else', () => {
  const declared = types.match(/interface Native \{(.*?)\n\}/s)?.[1] ?? '';
  const names = [...declared.matchAll(/^ {2}(?:readonly )?(\w+)[(:<]/gm)].map(([, name]) => name);
  expect(Object.keys(native).sort()).toEqual(names.sort());
});
