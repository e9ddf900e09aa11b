import * as ops from '../../lib';
import { OptionError, ShapeError, tensor, tidy } from '../../lib';
import { checkOp, onEveryTarget } from '../support/check_op';
import { BINARY, broadcast, UNARY, UNARY_POSITIVE } from '../support/definitions';

const entries = <F>(table: Readonly<Record<string, F>>): [keyof typeof table, F][] => Object.entries(table);
type Unary = [string, (a: ops.Tensor) => ops.Tensor, (a: number) => number];
const exported: Readonly<Record<string, unknown>> = ops;
const named = (name: string) => exported[name] as (a: ops.Tensor) => ops.Tensor;

const anySign: Unary[] = [
  ...entries(UNARY).map(([name, f]): Unary => [name, named(name), f]),
  ['scale', (a) => ops.scale(a, -2.5), (a) => -2.5 * a],
  ['addScalar', (a) => ops.addScalar(a, 3), (a) => a + 3],
  ['clampMin', (a) => ops.clampMin(a, 0.25), (a) => Math.max(a, 0.25)],
  ['clampMax', (a) => ops.clampMax(a, 0.25), (a) => Math.min(a, 0.25)],
];
const positive: Unary[] = [
  ...entries(UNARY_POSITIVE).map(([name, f]): Unary => [name, named(name), f]),
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
const binaries = entries(BINARY).map(
  ([name, f]) => [name, exported[name] as (a: ops.Tensor, b: ops.Tensor) => ops.Tensor, f] as const,
);

describe.each(binaries)('%s', (_, op, f) => {
  test.each(pairs)('broadcasts %j with %j', (a, b) => {
    // A seed without equal operands, rounded to bfloat16: maximum and minimum have no gradient there.
    checkOp(op, broadcast(f), [a, b], { low: 0.5, high: 2, seed: 4 });
  });
});

test('the derivative of 0 ** b for b is 0', () => {
  const b = tensor([0, 1, 2.5], undefined, { requiresGrad: true });
  ops.sum(ops.pow(ops.zeros([3]), b)).backward();
  expect([...b.grad!.toArray()]).toEqual([0, 0, 0]);
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
