import { argmax, max, mean, OptionError, sum, tensor } from '../../lib';
import { checkOp } from '../support/check_op';
import { along, total } from '../support/definitions';

const cases = [
  [[1], 0],
  [[17], 0],
  [[3, 33], 1],
  [[3, 33], 0],
  [[2, 5, 7], 1],
] as const;

describe.each(cases)('shape %j along %i', (shape, dim) => {
  test('sum', () => checkOp((x) => sum(x, { dim }), along(total, dim), [shape]));
  test('mean', () =>
    checkOp(
      (x) => mean(x, { dim }),
      along((v) => total(v) / v.length, dim),
      [shape],
    ));
  test('max', () =>
    checkOp(
      (x) => max(x, { dim }),
      along((v) => Math.max(...v), dim),
      [shape],
    ));
});

test('without a dimension everything is reduced', () => {
  checkOp(
    (x) => sum(x),
    (x) => Float64Array.of(total([...x.data])),
    [[3, 4, 5]],
  );
  expect(
    sum(
      tensor([
        [1, 2],
        [3, 4],
      ]),
      { dim: -1, keepDim: true },
    ).shape,
  ).toEqual([2, 1]);
});

test('a million terms keep six digits', () => {
  const x = tensor(new Float32Array(1_000_003).fill(0.1));
  expect(Math.abs(sum(x).item() / (1_000_003 * Math.fround(0.1)) - 1)).toBeLessThan(1e-6);
});

test('argmax takes the first of equals', () => {
  expect([
    ...argmax(
      tensor([
        [1, 5, 5],
        [7, 2, 7],
      ]),
    ).data,
  ]).toEqual([1, 0]);
  expect([
    ...argmax(
      tensor([
        [1, 5, 5],
        [7, 2, 7],
      ]),
      0,
    ).data,
  ]).toEqual([1, 0, 1]);
});

test('refuses a dimension that is not there', () => {
  expect(() => sum(tensor([1]), { dim: 1 })).toThrow(OptionError);
  expect(() => mean(tensor(new Float32Array(0)))).toThrow(OptionError);
});
