/** Broadcasting by numpy's rules: sizes match from the right, and a size of 1 repeats. */
import { formatShape, ShapeError } from '../errors';
import type { Shape } from '../tensor';

/** @throws {ShapeError} when the shapes cannot be broadcast together. */
export function broadcastShape(where: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(where, `a shape that broadcasts with ${formatShape(a)}`, formatShape(b));
    return x === 1 ? y : x;
  });
}

/** Strides, in elements, that read a contiguous tensor of `shape` as one of the shape `to`: 0 where it repeats. */
export function broadcastStrides(shape: Shape, to: Shape): number[] {
  const repeated = new Array<number>(to.length - shape.length).fill(0);
  return [...repeated, ...contiguousStrides(shape).map((step, i) => (shape[i] === 1 ? 0 : step))];
}

/** Row-major strides of a contiguous tensor, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

const INT32_MAX = 2 ** 31 - 1;

/** A list of sizes for kernels. @throws {ShapeError} for one that does not fit in 32 bits. */
export function int32Sizes(where: string, sizes: readonly number[]): Int32Array {
  const checked = new Int32Array(sizes.length);
  for (let i = 0; i < sizes.length; i++) {
    const size = sizes[i]!;
    if (size > INT32_MAX) throw new ShapeError(where, `sizes and strides of at most ${INT32_MAX} elements`, `${size}`);
    checked[i] = size;
  }
  return checked;
}

/** The same for the strides of `shape`. The stride of a dimension of one element is never used. @throws {ShapeError} */
export const int32Strides = (where: string, shape: Shape, strides: readonly number[]): Int32Array =>
  int32Sizes(
    where,
    strides.map((stride, d) => (shape[d]! > 1 ? stride : 0)),
  );
