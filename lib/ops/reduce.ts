/** Sums, means and extremes along dimensions. */
import { record } from '../autograd';
import { OptionError, runNative } from '../errors';
import { kernels } from '../kernels';
import { native } from '../native';
import { checkKeys } from '../options';
import { empty, numel, type Shape, type Tensor } from '../tensor';
import { broadcastStrides, int32Sizes, int32Strides } from './broadcast';
import { checkTensor, emptyAs, emptyLike } from './check';

/** Options of `sum`, `mean` and `max`. */
export interface ReduceOptions {
  /** The dimension to reduce, counted from the end when negative. Default: all of them. */
  dim?: number;
  /** Keeps the reduced dimension with size 1. Default: false. */
  keepDim?: boolean;
}

interface Extent {
  readonly outer: number;
  readonly extent: number;
  readonly inner: number;
  readonly shape: Shape;
}

/** @throws {OptionError} for a dimension that the tensor does not have. */
export function normalizeDim(where: string, dim: number, rank: number): number {
  if (!Number.isInteger(dim) || dim < -rank || dim >= rank)
    throw new OptionError(`${where}: dim`, `a whole number from ${-rank} to ${rank - 1}`, dim);
  return dim < 0 ? dim + rank : dim;
}

function extentOf(where: string, x: Tensor, { dim, keepDim = false }: ReduceOptions): Extent {
  if (dim === undefined) return { outer: 1, extent: x.size, inner: 1, shape: keepDim ? x.shape.map(() => 1) : [] };
  const d = normalizeDim(where, dim, x.rank);
  return {
    outer: numel(x.shape.slice(0, d)),
    extent: x.shape[d]!,
    inner: numel(x.shape.slice(d + 1)),
    shape: keepDim ? x.shape.map((size, i) => (i === d ? 1 : size)) : x.shape.filter((_, i) => i !== d),
  };
}

/** Repeats a reduced gradient back over the dimension: a read with stride 0. */
function spread(dy: Tensor, like: Tensor, { outer, extent, inner }: Extent): Tensor {
  const shape = [outer, extent, inner];
  const dims = int32Sizes('backward of a reduction', shape);
  const strides = int32Strides('backward of a reduction', shape, [inner, 0, 1]);
  const dx = emptyLike(like);
  kernels.strided_copy({ x: dy, y: dx, offset: 0, dims, strides });
  return dx;
}

function reduce(
  name: keyof typeof native.reductions,
  x: Tensor,
  options: ReduceOptions,
): { y: Tensor; extent: Extent } {
  checkKeys(name, options, { dim: 0, keepDim: 0 });
  checkTensor(`${name}: x`, x);
  const extent = extentOf(name, x, options);
  if (extent.extent === 0 && name !== 'sum') throw new OptionError(`${name}: x`, 'at least one element to reduce', 0);
  const y = emptyAs(extent.shape, x);
  runNative(() =>
    kernels.reduce({
      x,
      y,
      op: native.reductions[name],
      outer: extent.outer,
      extent: extent.extent,
      inner: extent.inner,
    }),
  );
  return { y, extent };
}

/** Sum over a dimension, or over everything. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  const { y, extent } = reduce('sum', x, options);
  return record(y, [x], (dy) => [spread(dy, x, extent)]);
}

/** Mean over a dimension, or over everything. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  const { y, extent } = reduce('mean', x, options);
  return record(y, [x], (dy) => {
    const dx = spread(dy, x, extent);
    kernels.unary({ a: dx, y: dx, op: native.unaryOps.scale, c: 1 / extent.extent });
    return [dx];
  });
}

/** Largest value over a dimension, or over everything; the gradient goes to every element that equals it. */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  const { y, extent } = reduce('max', x, options);
  const backward = (dy: Tensor) => {
    const dx = spread(dy, x, extent);
    const best = spread(y, x, extent);
    const dims = int32Sizes('backward of max', [x.size]);
    const step = Int32Array.of(1);
    kernels.binary({ a: x, b: best, y: best, op: native.binaryOps.equal, dims, a_strides: step, b_strides: step });
    kernels.binary({ a: dx, b: best, y: dx, op: native.binaryOps.mul, dims, a_strides: step, b_strides: step });
    best.dispose();
    return [dx];
  };
  return record(y, [x], backward, [x, y]);
}

/** Index of the largest value along a dimension (default: the last), int32. The first one if several are equal. */
export function argmax(x: Tensor, dim = -1): Tensor {
  checkTensor('argmax: x', x);
  const { outer, extent, inner, shape } = extentOf('argmax', x, { dim });
  if (extent === 0) throw new OptionError('argmax: x', 'at least one element to compare', 0);
  int32Sizes('argmax: x', [extent]); // its result is also int32
  const y = empty(shape, 'int32', x.device);
  runNative(() => kernels.argmax({ x, index: y, outer, extent, inner }));
  return y;
}

/** Sums a broadcast gradient back to the operand's own shape. */
export function reduceTo(gradient: Tensor, shape: Shape): Tensor {
  if (gradient.rank === shape.length && gradient.shape.every((size, i) => size === shape[i])) return gradient;
  const dims = int32Sizes('backward of a broadcast', gradient.shape);
  const strides = int32Strides('backward of a broadcast', gradient.shape, broadcastStrides(shape, gradient.shape));
  const total = emptyAs(shape, gradient);
  kernels.fill({ y: total, value: 0 });
  kernels.strided_add({ y: gradient, x: total, offset: 0, dims, strides });
  return total;
}
