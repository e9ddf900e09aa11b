import { broadcastTo, concat, OptionError, permute, reshape, ShapeError, slice, tensor, transpose } from '../../lib';
import { checkOp } from '../support/check_op';
import { gather, permuted, sliced } from '../support/definitions';

test.each([
  [
    [2, 3],
    [1, 0],
  ],
  [
    [2, 3, 5],
    [2, 0, 1],
  ],
  [
    [1, 7, 1, 3],
    [3, 1, 2, 0],
  ],
])('permute of %j by %j', (shape, order) => {
  checkOp(
    (x) => permute(x, order),
    (x) => permuted(x, order),
    [shape],
  );
});

test('transpose swaps the last two dimensions', () => {
  checkOp(
    (x) => transpose(x),
    (x) => permuted(x, [0, 2, 1]),
    [[2, 3, 5]],
  );
});

test.each([
  [[7], 0, 2, 5],
  [[3, 5], 1, 0, 1],
  [[3, 5, 2], -2, 4, 5],
])('slice of %j along %i from %i to %i', (shape, dim, start, end) => {
  const d = dim < 0 ? dim + shape.length : dim;
  checkOp(
    (x) => slice(x, dim, start, end),
    (x) => sliced(x, d, start, end),
    [shape],
  );
});

test('concat takes any number of tensors', () => {
  const many = Array.from({ length: 150_000 }, (_, i) => tensor([i & 1], undefined, { requiresGrad: i === 7 }));
  const joined = concat(many);
  expect(joined.toArray().subarray(0, 4)).toEqual(Float32Array.of(0, 1, 0, 1));
  expect(joined.size).toBe(150_000);
});

test('concat joins along a dimension', () => {
  checkOp(
    (a, b) => concat([a, b], 1),
    (a, b) =>
      Float64Array.from({ length: 2 * 7 }, (_, i) => {
        const [row, column] = [Math.floor(i / 7), i % 7];
        return column < 3 ? a.data[row * 3 + column]! : b.data[row * 4 + column - 3]!;
      }),
    [
      [2, 3],
      [2, 4],
    ],
  );
});

test('broadcastTo repeats, and its gradient adds up', () => {
  checkOp(
    (x) => broadcastTo(x, [4, 2, 3]),
    (x) => gather(x, [4, 2, 3], (index) => [index[1]!, 0]),
    [[2, 1]],
  );
});

test('reshape shares memory and finds one size', () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  const y = reshape(x, [3, -1]);
  expect(y.shape).toEqual([3, 2]);
  y.data[0] = 9;
  expect(x.data[0]).toBe(9);
});

test('int32 tensors keep their type', () => {
  const ids = tensor(Int32Array.of(1, 2, 3, 4), [2, 2]);
  expect([...transpose(ids).data]).toEqual([1, 3, 2, 4]);
  expect(slice(ids, 0, 1, 2).dtype).toBe('int32');
});

test('refuses what does not fit', () => {
  const x = tensor([[1, 2, 3]]);
  expect(() => reshape(x, [2, 2])).toThrow(ShapeError);
  expect(() => reshape(x, [-1, -1])).toThrow(OptionError);
  expect(() => permute(x, [0, 0])).toThrow(OptionError);
  expect(() => slice(x, 1, 2, 5)).toThrow(OptionError);
  expect(() => slice(x, 2, 0, 1)).toThrow(OptionError);
  expect(() => concat([x, tensor([[1, 2]])], 0)).toThrow(ShapeError);
  expect(() => broadcastTo(x, [2, 2])).toThrow(ShapeError);
});
