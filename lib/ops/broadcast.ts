/** Broadcasting by numpy's rules: sizes match from the right, and a size of 1 repeats. */
import { formatShape, ShapeError } from '../errors';
import type { Shape } from '../tensor';

/** @throws {ShapeError} when the shapes cannot be broadcast together. */
export function broadcastShape(where: string, a: Shape, b: Shape): Shape {
  if (equalSizes(a, b)) return a;
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
  const strides = new Array<number>(to.length).fill(0);
  const repeated = to.length - shape.length;
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1) strides[repeated + d] = step;
    step *= shape[d]!;
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

const INT32_MAX = 2 ** 31 - 1;

/**
 * The latest list of each hash. Native code takes the address of an array, and V8 (11) moves a small one out of its heap for
 * that, which takes longer than a small kernel. So equal lists are one array.
 */
const LISTS = new Array<Int32Array | undefined>(1 << 10);

function equalSizes(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A list of sizes for kernels, not to be written to. @throws {ShapeError} for a size that does not fit in 32 bits. */
export function int32Sizes(where: string, sizes: readonly number[]): Int32Array {
  let hash = sizes.length;
  for (let i = 0; i < sizes.length; i++) {
    const size = sizes[i]!;
    if (size > INT32_MAX) throw new ShapeError(where, `sizes and strides of at most ${INT32_MAX} elements`, `${size}`);
    hash = Math.imul(hash, 31) + size;
  }
  const place = (hash ^ (hash >>> 10)) & (LISTS.length - 1);
  let list = LISTS[place];
  if (list === undefined || !equalSizes(list, sizes)) {
    list = Int32Array.from(sizes);
    LISTS[place] = list;
  }
  return list;
}

/** The same for the strides of `shape`. The stride of a dimension of one element is never used. @throws {ShapeError} */
export function int32Strides(where: string, shape: Shape, strides: readonly number[]): Int32Array {
  const used: number[] = [];
  for (let d = 0; d < strides.length; d++) used.push(shape[d]! > 1 ? strides[d]! : 0);
  return int32Sizes(where, used);
}
