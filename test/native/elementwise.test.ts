import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { expectClose, expectGradient, onEveryIsa, randomArray } from './support';

const SIZES = [1, 3, 16, 37, 1000, 33001];
const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a));
const gelu = (a: number): number => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)));

/** Name, definition, scalar operand, and whether the inputs must be positive. */
const UNARY: [string, keyof typeof native.unaryOps, (a: number, c: number) => number, number, boolean][] = [
  ['neg', 'neg', (a) => -a, 0, false],
  ['exp', 'exp', Math.exp, 0, false],
  ['log', 'log', Math.log, 0, true],
  ['sqrt', 'sqrt', Math.sqrt, 0, true],
  ['rsqrt', 'rsqrt', (a) => 1 / Math.sqrt(a), 0, true],
  ['tanh', 'tanh', Math.tanh, 0, false],
  ['sigmoid', 'sigmoid', sigmoid, 0, false],
  ['gelu', 'gelu', gelu, 0, false],
  ['silu', 'silu', (a) => a * sigmoid(a), 0, false],
  ['relu', 'relu', (a) => Math.max(a, 0), 0, false],
  ['square', 'square', (a) => a * a, 0, false],
  ['abs', 'abs', Math.abs, 0, false],
  ['scale', 'scale', (a, c) => a * c, -1.75, false],
  ['add', 'addScalar', (a, c) => a + c, 0.375, false],
  ['pow', 'pow', (a, c) => a ** c, 2.5, true],
  ['pow with a whole exponent', 'pow', (a, c) => a ** c, 3, false],
  ['sin', 'sin', Math.sin, 0, false],
  ['cos', 'cos', Math.cos, 0, false],
  ['reciprocal', 'reciprocal', (a) => 1 / a, 0, true],
  ['clampMin', 'clampMin', Math.max, 0.5, false],
  ['clampMax', 'clampMax', Math.min, 0.5, false],
];

onEveryIsa(() => {
  describe.each(UNARY)('%s', (_, op, f, c, positive) => {
    const input = (size: number): Float32Array =>
      randomArray(size, size, 6).map((a) => (positive ? Math.abs(a) + 0.1 : a));

    test.each(SIZES)('%i elements', (size) => {
      const a = input(size);
      const y = new Float32Array(size);
      kernels.unary({ a, y, op: native.unaryOps[op], c });
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
      kernels.unary({ a, y, op: native.unaryOps[op], c });
      kernels.unary_backward({ dy, a, y, da, op: native.unaryOps[op], c });
      const at = Float64Array.from(a);
      expectGradient(() => at.reduce((total, value, i) => total + dy[i]! * f(value, c), 0), at, da, 2e-5);
    });
  });

  test('keeps infinities and NaN, and overflows and underflows where float32 does', () => {
    const a = Float32Array.of(88.5, 88.8, -104, Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY);
    const y = new Float32Array(6);
    kernels.unary({ a, y, op: native.unaryOps.exp, c: 0 });
    expectClose(y, [Math.exp(88.5), Number.POSITIVE_INFINITY, 0, 0, Number.NaN, Number.POSITIVE_INFINITY], 1e-6);
    kernels.unary({ a, y, op: native.unaryOps.tanh, c: 0 });
    expectClose(y, [1, 1, -1, -1, Number.NaN, 1], 1e-7);
    kernels.unary({
      a: Float32Array.of(0, -1, Number.POSITIVE_INFINITY, Number.NaN, 1, 4),
      y,
      op: native.unaryOps.log,
      c: 0,
    });
    const logs = [Number.NEGATIVE_INFINITY, Number.NaN, Number.POSITIVE_INFINITY, Number.NaN, 0, Math.log(4)];
    expectClose(y, logs, 1e-7);
    kernels.unary({ a, y, op: native.unaryOps.relu, c: 0 });
    expectClose(y, [88.5, 88.8, 0, 0, Number.NaN, Number.POSITIVE_INFINITY], 1e-6);
  });

  test('tanh is accurate relative to its small results', () => {
    const a = Float32Array.of(1e-6, -3e-4, 0.01, 0.3);
    const y = new Float32Array(4);
    kernels.unary({ a, y, op: native.unaryOps.tanh, c: 0 });
    for (let i = 0; i < 4; i++) expect(Math.abs(y[i]! / Math.tanh(a[i]!) - 1)).toBeLessThan(3e-7);
  });

  test('relu passes no gradient at 0', () => {
    const da = new Float32Array(1);
    kernels.unary_backward({
      dy: Float32Array.of(1),
      a: Float32Array.of(0),
      y: Float32Array.of(0),
      da,
      op: native.unaryOps.relu,
      c: 0,
    });
    expect(da[0]).toBe(0);
  });

  const BINARY: [keyof typeof native.binaryOps, (a: number, b: number) => number][] = [
    ['add', (a, b) => a + b],
    ['sub', (a, b) => a - b],
    ['mul', (a, b) => a * b],
    ['div', (a, b) => a / b],
    ['maximum', Math.max],
    ['minimum', Math.min],
    ['pow', (a, b) => a ** b],
    ['greater', (a, b) => Number(a > b)],
    ['equal', (a, b) => Number(a === b)],
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

  describe.each(BINARY)('%s', (name, f) => {
    test.each(LAYOUTS)('%s', (_layout, dims, aStrides, bStrides) => {
      const size = dims.reduce((x, y) => x * y, 1);
      const round = (v: number): number => Math.round(Math.abs(v) * 8 + 1) / 4; // positive, with equal pairs
      const [a, b] = [randomArray(size, 5).map(round), randomArray(size, 6).map(round)];
      const y = new Float32Array(size);
      kernels.binary({
        a,
        b,
        y,
        op: native.binaryOps[name],
        dims: Int32Array.from(dims),
        a_strides: Int32Array.from(aStrides),
        b_strides: Int32Array.from(bStrides),
      });
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
    for (const op of [native.binaryOps.maximum, native.binaryOps.minimum]) {
      kernels.binary({
        a: Float32Array.of(Number.NaN, 1),
        b: Float32Array.of(1, Number.NaN),
        y,
        op,
        dims,
        a_strides: step,
        b_strides: step,
      });
      expect(Array.from(y)).toEqual([Number.NaN, Number.NaN]);
    }
  });

  test.each(SIZES)('add_scaled, copy and fill of %i elements', (size) => {
    const [x, acc] = [randomArray(size, 1), randomArray(size, 2)];
    const expected = Array.from(acc, (value, i) => value - 0.25 * x[i]!);
    kernels.add_scaled({ x, acc, scale: -0.25 });
    expectClose(acc, expected, 1e-6);
    kernels.copy({ x, y: acc });
    expect(acc).toEqual(x);
    kernels.fill({ y: acc, value: 2.5 });
    expect(acc).toEqual(new Float32Array(size).fill(2.5));
    const ids = new Int32Array(size);
    kernels.fill({ y: ids, value: -7 });
    expect(ids).toEqual(new Int32Array(size).fill(-7));
  });
});

test('an unknown operation is an error', () => {
  const one = new Float32Array(1);
  expect(() => kernels.unary({ a: one, y: one, op: 20, c: 0 })).toThrow('such codes');
  expect(() => kernels.unary_backward({ dy: one, a: one, y: one, da: one, op: -1, c: 0 })).toThrow('such codes');
  expect(() =>
    kernels.binary({
      a: one,
      b: one,
      y: one,
      op: 9,
      dims: Int32Array.of(),
      a_strides: Int32Array.of(),
      b_strides: Int32Array.of(),
    }),
  ).toThrow('such codes');
});
