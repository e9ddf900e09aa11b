/** Broadcasting by numpy's rules: sizes match from the right, and a size of 1 repeats. */
import { formatShape, ShapeError } from '../errors';
import type { Shape } from '../tensor';

/** @throws {ShapeError} when the shapes cannot be brought together. */
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
export function broadcastStrides(shape: Shape, to: Shape): Int32Array {
  const strides = new Int32Array(to.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) strides[to.length - shape.length + i] = step;
    step *= shape[i]!;
  }
  return strides;
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
