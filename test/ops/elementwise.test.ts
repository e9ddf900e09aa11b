import * as ops from '../../lib';
import { OptionError, ShapeError, tensor, tidy } from '../../lib';
import { checkOp, type Nd, onEveryTarget } from '../support/check_op';

const geluTanh = (a: number) => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)));
const sigmoid = (a: number) => 1 / (1 + Math.exp(-a));

const anySign: [string, (a: ops.Tensor) => ops.Tensor, (a: number) => number][] = [
  ['neg', ops.neg, (a) => -a],
  ['exp', ops.exp, Math.exp],
  ['tanh', ops.tanh, Math.tanh],
  ['sigmoid', ops.sigmoid, sigmoid],
  ['gelu', ops.gelu, geluTanh],
  ['silu', ops.silu, (a) => a * sigmoid(a)],
  ['relu', ops.relu, (a) => Math.max(a, 0)],
  ['square', ops.square, (a) => a * a],
  ['abs', ops.abs, Math.abs],
  ['sin', ops.sin, Math.sin],
  ['cos', ops.cos, Math.cos],
  ['scale', (a) => ops.scale(a, -2.5), (a) => -2.5 * a],
  ['addScalar', (a) => ops.addScalar(a, 3), (a) => a + 3],
  ['clampMin', (a) => ops.clampMin(a, 0.25), (a) => Math.max(a, 0.25)],
  ['clampMax', (a) => ops.clampMax(a, 0.25), (a) => Math.min(a, 0.25)],
];
const positive: typeof anySign = [
  ['log', ops.log, Math.log],
  ['sqrt', ops.sqrt, Math.sqrt],
  ['rsqrt', ops.rsqrt, (a) => 1 / Math.sqrt(a)],
  ['reciprocal', ops.reciprocal, (a) => 1 / a],
  ['powScalar', (a) => ops.powScalar(a, 2.3), (a) => a ** 2.3],
];
const shapes = [[1], [7], [3, 5, 11], [4, 16]];

describe.each(anySign)('%s', (_, op, f) => {
  test.each(shapes)('matches its definition and derivative on shape %j', (...shape) => {
    checkOp(op, (a) => a.data.map(f), [shape.flat()], { low: -3, high: 3, seed: 7 });
  });
});

describe.each(positive)('%s', (_, op, f) => {
  test.each(shapes)('matches its definition and derivative on shape %j', (...shape) => {
    checkOp(op, (a) => a.data.map(f), [shape.flat()], { low: 0.5, high: 3 });
  });
});

/** numpy's broadcasting, one element at a time. */
function broadcast(f: (a: number, b: number) => number) {
  return (a: Nd, b: Nd): Float64Array => {
    const rank = Math.max(a.shape.length, b.shape.length);
    const pad = (shape: readonly number[]) => [...Array(rank - shape.length).fill(1), ...shape] as number[];
    const [sa, sb] = [pad(a.shape), pad(b.shape)];
    const shape = sa.map((size, i) => (size === 1 ? sb[i]! : size));
    const y = new Float64Array(shape.reduce((n, s) => n * s, 1));
    for (let flat = 0; flat < y.length; flat++) {
      let rest = flat;
      const index = shape.map(() => 0);
      for (let i = rank - 1; i >= 0; i--) {
        index[i] = rest % shape[i]!;
        rest = Math.floor(rest / shape[i]!);
      }
      const at = (nd: Nd, sizes: number[]) =>
        nd.data[index.reduce((o, x, i) => o * sizes[i]! + (sizes[i] === 1 ? 0 : x), 0)]!;
      y[flat] = f(at(a, sa), at(b, sb));
    }
    return y;
  };
}

const pairs = [
  [[5], [5]],
  [[3, 7], [7]],
  [
    [3, 7],
    [3, 1],
  ],
  [
    [2, 1, 5],
    [3, 1],
  ],
  [[1], [2, 3]],
  [
    [4, 1, 3],
    [1, 6, 1],
  ],
];
const binaries: [string, (a: ops.Tensor, b: ops.Tensor) => ops.Tensor, (a: number, b: number) => number][] = [
  ['add', ops.add, (a, b) => a + b],
  ['sub', ops.sub, (a, b) => a - b],
  ['mul', ops.mul, (a, b) => a * b],
  ['div', ops.div, (a, b) => a / b],
  ['pow', ops.pow, (a, b) => a ** b],
  ['maximum', ops.maximum, Math.max],
  ['minimum', ops.minimum, Math.min],
];

describe.each(binaries)('%s', (_, op, f) => {
  test.each(pairs)('broadcasts %j with %j', (a, b) => {
    // A seed without equal operands, rounded to bfloat16: maximum and minimum have no gradient there.
    checkOp(op, broadcast(f), [a, b], { low: 0.5, high: 2, seed: 4 });
  });
});

test('comparisons give ones and zeros', () => {
  const [a, b] = [tensor([1, 2, 3]), tensor([2, 2, 2])];
  expect([...ops.greater(a, b).data]).toEqual([0, 0, 1]);
  expect([...ops.equal(a, b).data]).toEqual([0, 1, 0]);
});

test('exp overflows to infinity and NaN stays NaN', () => {
  const y = ops.exp(tensor([100, Number.NaN, Number.NEGATIVE_INFINITY, 0]));
  expect([...y.data]).toEqual([Number.POSITIVE_INFINITY, Number.NaN, 0, 1]);
});

test('sin and cos take arguments of any size, and have no value at infinity', () => {
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: nan } = Number;
  // The last two: the float32 nearest to a multiple of π/2, and the largest.
  const sizes = [1e-3, 100, 1e5, 1e7, 1e10, 1e15, 1e25, 16367173 * 2 ** 72, 3.4e38];
  const arguments_ = [...sizes, ...sizes.map((a) => -a), POSITIVE_INFINITY, NEGATIVE_INFINITY, nan];
  onEveryTarget(({ name, device, dtype }) =>
    tidy(() => {
      const a = tensor(arguments_, [arguments_.length], { device, dtype });
      const exact = [...a.toArray()];
      const digits = dtype === 'bfloat16' ? 8e-3 : 1e-6;
      for (const [op, f] of [
        [ops.sin, Math.sin],
        [ops.cos, Math.cos],
      ] as const) {
        const wrong = [...op(a).toArray()].flatMap((y, i) => {
          const expected = f(exact[i]!);
          const isRight = Number.isNaN(expected)
            ? Number.isNaN(y)
            : Math.abs(y - expected) <= digits * Math.abs(expected);
          return isRight ? [] : [{ name, a: exact[i], y, expected }];
        });
        expect(wrong).toEqual([]);
      }
    }),
  );
});

test('refuses shapes that do not broadcast, and operands that are no tensors', () => {
  expect(() => ops.add(tensor([1, 2]), tensor([1, 2, 3]))).toThrow(ShapeError);
  // @ts-expect-error what an untyped caller may do
  expect(() => ops.exp([1, 2])).toThrow(OptionError);
  expect(() => ops.scale(tensor([1]), Number.NaN)).toThrow('scale: operand: expected a finite number, got NaN');
});
