import { native } from '../../lib/native';
import { expectClose, expectGradient, onEveryIsa, randomArray } from './support';

const SIZES = [1, 3, 16, 37, 1000, 33001];
const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a));
const gelu = (a: number): number => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)));

/** Number, definition, scalar operand, and whether the inputs must be positive. */
const UNARY: [string, number, (a: number, c: number) => number, number, boolean][] = [
  ['neg', 0, (a) => -a, 0, false],
  ['exp', 1, Math.exp, 0, false],
  ['log', 2, Math.log, 0, true],
  ['sqrt', 3, Math.sqrt, 0, true],
  ['rsqrt', 4, (a) => 1 / Math.sqrt(a), 0, true],
  ['tanh', 5, Math.tanh, 0, false],
  ['sigmoid', 6, sigmoid, 0, false],
  ['gelu', 7, gelu, 0, false],
  ['silu', 8, (a) => a * sigmoid(a), 0, false],
  ['relu', 9, (a) => Math.max(a, 0), 0, false],
  ['square', 10, (a) => a * a, 0, false],
  ['abs', 11, Math.abs, 0, false],
  ['scale', 12, (a, c) => a * c, -1.75, false],
  ['add', 13, (a, c) => a + c, 0.375, false],
  ['pow', 14, (a, c) => a ** c, 2.5, true],
  ['pow with a whole exponent', 14, (a, c) => a ** c, 3, false],
  ['sin', 15, Math.sin, 0, false],
  ['cos', 16, Math.cos, 0, false],
  ['reciprocal', 17, (a) => 1 / a, 0, true],
  ['clampMin', 18, Math.max, 0.5, false],
  ['clampMax', 19, Math.min, 0.5, false],
];

onEveryIsa(() => {
  describe.each(UNARY)('%s', (_, op, f, c, positive) => {
    const input = (size: number): Float32Array =>
      randomArray(size, size, 6).map((a) => (positive ? Math.abs(a) + 0.1 : a));

    test.each(SIZES)('%i elements', (size) => {
      const a = input(size);
      const y = new Float32Array(size);
      native.unary(a, y, op, c);
      expectClose(
        y,
        Array.from(a, (value) => f(value, c)),
        1e-6,
      );
    });

    test('derivative', () => {
      const size = 37;
      const a = input(size);
      const dy = randomArray(size, 2);
      const [y, da] = [new Float32Array(size), new Float32Array(size)];
      native.unary(a, y, op, c);
      native.unary_backward(dy, a, y, da, op, c);
      const at = Float64Array.from(a);
      expectGradient(() => at.reduce((total, value, i) => total + dy[i]! * f(value, c), 0), at, da, 2e-5);
    });
  });

  test('keeps infinities and NaN, and overflows and underflows where float32 does', () => {
    const a = Float32Array.of(88.5, 88.8, -104, Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY);
    const y = new Float32Array(6);
    native.unary(a, y, 1, 0);
    expectClose(y, [Math.exp(88.5), Number.POSITIVE_INFINITY, 0, 0, Number.NaN, Number.POSITIVE_INFINITY], 1e-6);
    native.unary(a, y, 5, 0);
    expectClose(y, [1, 1, -1, -1, Number.NaN, 1], 1e-7);
    native.unary(Float32Array.of(0, -1, Number.POSITIVE_INFINITY, Number.NaN, 1, 4), y, 2, 0);
    const logs = [Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY, Number.NaN, 0, Math.log(4)];
    expectClose(y, logs, 1e-7);
    native.unary(a, y, 9, 0);
    expectClose(y, [88.5, 88.8, 0, 0, Number.NaN, Number.POSITIVE_INFINITY], 1e-6);
  });

  test('tanh is accurate relative to its small results', () => {
    const a = Float32Array.of(1e-6, -3e-4, 0.01, 0.3);
    const y = new Float32Array(4);
    native.unary(a, y, 5, 0);
    for (let i = 0; i < 4; i++) expect(Math.abs(y[i]! / Math.tanh(a[i]!) - 1)).toBeLessThan(3e-7);
  });

  test('relu passes no gradient at 0', () => {
    const da = new Float32Array(1);
    native.unary_backward(Float32Array.of(1), Float32Array.of(0), Float32Array.of(0), da, 9, 0);
    expect(da[0]).toBe(0);
  });

  const BINARY: [string, number, (a: number, b: number) => number][] = [
    ['add', 0, (a, b) => a + b],
    ['sub', 1, (a, b) => a - b],
    ['mul', 2, (a, b) => a * b],
    ['div', 3, (a, b) => a / b],
    ['maximum', 4, Math.max],
    ['minimum', 5, Math.min],
    ['pow', 6, (a, b) => a ** b],
    ['greater', 7, (a, b) => Number(a > b)],
    ['equal', 8, (a, b) => Number(a === b)],
  ];
  /** dims of y, strides of a, strides of b. */
  const LAYOUTS: [string, number[], number[], number[]][] = [
    ['one element', [], [], []],
    ['same shape', [3, 5, 7], [35, 7, 1], [35, 7, 1]],
    ['a row to every row', [9, 37], [37, 1], [0, 1]],
    ['a column to every column', [9, 37], [1, 0], [37, 1]],
    ['a scalar', [11, 3], [0, 0], [3, 1]],
    ['outer product', [5, 19], [1, 0], [0, 1]],
    ['inner dimension repeated', [2, 3, 4, 5], [12, 4, 1, 0], [0, 20, 0, 1]],
    ['a transpose', [17, 23], [1, 17], [23, 1]],
    ['many tasks', [300, 257], [257, 1], [0, 1]],
  ];

  describe.each(BINARY)('%s', (_, op, f) => {
    test.each(LAYOUTS)('%s', (_layout, dims, aStrides, bStrides) => {
      const size = dims.reduce((x, y) => x * y, 1);
      const round = (v: number): number => Math.round(Math.abs(v) * 8 + 1) / 4; // positive, with equal pairs
      const [a, b] = [randomArray(size, 5).map(round), randomArray(size, 6).map(round)];
      const y = new Float32Array(size);
      native.binary(a, b, y, op, Int32Array.from(dims), Int32Array.from(aStrides), Int32Array.from(bStrides));
      const expected = Array.from({ length: size }, (_, position) => {
        let [rest, i, j] = [position, 0, 0];
        for (let d = dims.length - 1; d >= 0; d--) {
          const index = rest % dims[d]!;
          rest = (rest - index) / dims[d]!;
          i += index * aStrides[d]!;
          j += index * bStrides[d]!;
        }
        return f(a[i]!, b[j]!);
      });
      expectClose(y, expected, 1e-6);
    });
  });

  test('maximum and minimum keep the NaN of either side', () => {
    const y = new Float32Array(2);
    const [dims, step] = [Int32Array.of(2), Int32Array.of(1)];
    for (const op of [4, 5]) {
      native.binary(Float32Array.of(Number.NaN, 1), Float32Array.of(1, Number.NaN), y, op, dims, step, step);
      expect(Array.from(y)).toEqual([Number.NaN, Number.NaN]);
    }
  });

  test.each(SIZES)('add_scaled, copy and fill of %i elements', (size) => {
    const [x, acc] = [randomArray(size, 1), randomArray(size, 2)];
    const expected = Array.from(acc, (value, i) => value - 0.25 * x[i]!);
    native.add_scaled(x, acc, -0.25);
    expectClose(acc, expected, 1e-6);
    native.copy(x, acc);
    expect(acc).toEqual(x);
    native.fill(acc, 2.5);
    expect(acc).toEqual(new Float32Array(size).fill(2.5));
    const ids = new Int32Array(size);
    native.fill(ids, -7);
    expect(ids).toEqual(new Int32Array(size).fill(-7));
  });
});

test('an unknown operation is an error', () => {
  const one = new Float32Array(1);
  expect(() => native.unary(one, one, 20, 0)).toThrow('no such operation');
  expect(() => native.unary_backward(one, one, one, one, -1, 0)).toThrow('no such operation');
  expect(() => native.binary(one, one, one, 9, Int32Array.of(), Int32Array.of(), Int32Array.of())).toThrow(
    'no such operation',
  );
});
