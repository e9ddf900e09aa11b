/** native/kernels.def, types/native.d.ts and the addon's exports name the same kernels, with the same parameters. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { native } from '../../lib/native';

const ROOT = join(__dirname, '..', '..');
const read = (...path: string[]) => readFileSync(join(ROOT, ...path), 'utf8');

/** What TypeScript calls the parameter types of C++. */
const TYPES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['F32', 'I32', 'I8', 'Float', 'MixedFloat', 'AnyFloat', 'Weight', 'Reduced', 'Any'].flatMap((type) => [
      [type, 'Operand'],
      [`${type}s`, 'Operands'],
    ]),
  ),
  Ints: 'Int32Array',
  Model: 'NativeModel',
  int64_t: 'number',
  double: 'number',
};

function kernelsOfCpp(): Map<string, string[]> {
  const source = read('native', 'kernels.def').replaceAll(/\/\/.*$/gm, '');
  return new Map(
    [...source.matchAll(/KERNEL\((\w+),([^)]*)\)/g)].map(([, kernel = '', parameters = '']) => [
      kernel,
      parameters.split(',').map((parameter) => {
        const [type = '', name = ''] = parameter.trim().split(/\s+/);
        return `${name}: ${TYPES[type] ?? type}`;
      }),
    ]),
  );
}

function kernelsOfTypes(): Map<string, string[]> {
  const body = read('types', 'native.d.ts').match(/interface Kernels<R> \{(.*?)\n\}/s)?.[1] ?? '';
  const source = body.replaceAll(/\/\*.*?\*\//gs, '');
  return new Map(
    [...source.matchAll(/(\w+)\(([^)]*)\): R;/g)].map(([, kernel = '', parameters = '']) => [
      kernel,
      parameters
        .split(',')
        .map((parameter) => parameter.trim())
        .filter((parameter) => parameter !== ''),
    ]),
  );
}

const kernels = kernelsOfCpp();

test('there are kernels', () => {
  expect(kernels.size).toBeGreaterThan(20);
});

test('the types say what the C++ says', () => {
  expect(Object.fromEntries(kernelsOfTypes())).toEqual(Object.fromEntries(kernels));
});

test('the addon exports every kernel, synchronous and asynchronous', () => {
  expect(Object.keys(native.async).sort()).toEqual([...kernels.keys()].sort());
  for (const kernel of kernels.keys())
    expect([kernel, typeof Reflect.get(native, kernel)]).toEqual([kernel, 'function']);
});

test('and nothing else but what the types declare', () => {
  const declared = read('types', 'native.d.ts').match(/interface Native extends[^{]*\{(.*?)\n\}/s)?.[1] ?? '';
  const names = [...declared.matchAll(/^ {2}(?:readonly )?(\w+)[(:<]/gm)].map(([, name]) => name);
  const others = Object.keys(native).filter((name) => !kernels.has(name));
  expect(others.sort()).toEqual(names.sort());
});
