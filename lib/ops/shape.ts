/** The same elements in another arrangement. */
import { record } from '../autograd';
import { DTypeError, formatShape, OptionError, runNative, ShapeError } from '../errors';
import { kernels } from '../kernels';
import { checkedShape } from '../sizes';
import { empty, numel, type Shape, type Tensor } from '../tensor';
import { broadcastShape, broadcastStrides, contiguousStrides, int32Sizes, int32Strides } from './broadcast';
import { checkSameDevice, checkTensor, emptyAs, emptyLike } from './check';
import { normalizeDim, reduceTo } from './reduce';

/** A strided view of x, made contiguous. */
function gather(where: string, x: Tensor, shape: Shape, offset: number, strides: readonly number[]): Tensor {
  const dims = int32Sizes(where, shape);
  const steps = int32Strides(where, shape, strides);
  const y = empty(shape, x.dtype, x.device);
  runNative(() => kernels.strided_copy({ x, y, offset, dims, strides: steps }));
  return record(y, [x], (dy) => {
    const dx = emptyLike(x);
    kernels.fill({ y: dx, value: 0 });
    kernels.strided_write({ y: dy, x: dx, offset, dims, strides: steps });
    return [dx];
  });
}

/** The shape with the size that -1 stands for. @throws {OptionError | ShapeError} */
function completed(size: number, shape: Shape): Shape {
  const where = 'reshape: shape';
  if (!Array.isArray(shape)) throw new OptionError(where, 'an array of sizes', shape);
  const at = shape.indexOf(-1);
  if (at < 0) return checkedShape(where, shape);
  const others = checkedShape(where, shape.toSpliced(at, 1));
  if (!Number.isInteger(size / numel(others)))
    throw new ShapeError('reshape', `a shape of ${size} elements`, formatShape(shape));
  return others.toSpliced(at, 0, size / numel(others));
}

/** The same memory with another shape; one size may be -1, to be computed from the others. No copy. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor('reshape: x', x, 'any');
  const found = completed(x.size, shape);
  if (numel(found) !== x.size) throw new ShapeError('reshape', `a shape of ${x.size} elements`, formatShape(shape));
  return record(x.view(found), [x], (dy) => [dy.view(x.shape)]);
}

/** Dimensions in another order: y.shape[i] = x.shape[order[i]]. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  checkTensor('permute: x', x, 'any');
  if (!Array.isArray(order)) throw new OptionError('permute: order', 'an array of dimensions', order);
  const dims = (order as readonly number[]).map((d) => normalizeDim('permute', d, x.rank));
  if (dims.length !== x.rank || new Set(dims).size !== x.rank)
    throw new OptionError('permute: order', `each of the ${x.rank} dimensions once`, order);
  const strides = contiguousStrides(x.shape);
  return gather(
    'permute',
    x,
    dims.map((d) => x.shape[d]!),
    0,
    dims.map((d) => strides[d]!),
  );
}

/** Two dimensions swapped; default: the last two. */
export function transpose(x: Tensor, dim0 = -2, dim1 = -1): Tensor {
  checkTensor('transpose: x', x, 'any');
  const order = x.shape.map((_, i) => i);
  const [a, b] = [normalizeDim('transpose', dim0, x.rank), normalizeDim('transpose', dim1, x.rank)];
  [order[a], order[b]] = [b, a];
  return permute(x, order);
}

/** Elements start .. end-1 along a dimension. */
export function slice(x: Tensor, dim: number, start: number, end: number): Tensor {
  checkTensor('slice: x', x, 'any');
  const d = normalizeDim('slice', dim, x.rank);
  const size = x.shape[d]!;
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > size)
    throw new OptionError('slice: range', `0 <= start <= end <= ${size}`, `${start} .. ${end}`);
  const strides = contiguousStrides(x.shape);
  const shape = x.shape.map((s, i) => (i === d ? end - start : s));
  return gather('slice', x, shape, start * strides[d]!, strides);
}

/** x repeated to a larger shape by the rules of broadcasting. */
export function broadcastTo(x: Tensor, to: Shape): Tensor {
  checkTensor('broadcastTo: x', x);
  const shape = checkedShape('broadcastTo: shape', to);
  if (formatShape(broadcastShape('broadcastTo', x.shape, shape)) !== formatShape(shape))
    throw new ShapeError('broadcastTo', `a shape that ${formatShape(x.shape)} broadcasts to`, formatShape(shape));
  const dims = int32Sizes('broadcastTo', shape);
  const strides = int32Strides('broadcastTo', shape, broadcastStrides(x.shape, shape));
  const y = emptyAs(shape, x);
  runNative(() => kernels.strided_copy({ x, y, offset: 0, dims, strides }));
  return record(y, [x], (dy) => [reduceTo(dy, x.shape)]);
}

/** Tensors one after another along a dimension; all other sizes must agree. */
export function concat(tensors: readonly Tensor[], dim = 0): Tensor {
  if (!Array.isArray(tensors) || tensors.length === 0)
    throw new OptionError('concat: tensors', 'an array of at least one tensor', tensors);
  const parts: readonly Tensor[] = [...tensors]; // the graph keeps them
  for (const t of parts) checkTensor('concat: tensors', t, 'any');
  return concatChecked(parts, parts[0]!, dim);
}

function concatChecked(tensors: readonly Tensor[], first: Tensor, dim: number): Tensor {
  const d = normalizeDim('concat', dim, first.rank);
  for (const t of tensors) {
    if (t.dtype !== first.dtype) throw new DTypeError('concat', first.dtype, t.dtype);
    if (t.rank !== first.rank || t.shape.some((size, i) => i !== d && size !== first.shape[i]))
      throw new ShapeError('concat', `${formatShape(first.shape)} except for dimension ${d}`, formatShape(t.shape));
  }
  const total = tensors.reduce((length, t) => length + t.shape[d]!, 0);
  const shape = first.shape.map((size, i) => (i === d ? total : size));
  for (const t of tensors) checkSameDevice('concat', first, t);
  const strides = contiguousStrides(shape);
  const parts = tensors.map((t) => [int32Sizes('concat', t.shape), int32Strides('concat', t.shape, strides)] as const);
  const y = empty(shape, first.dtype, first.device);
  const starts = [0];
  for (const [i, t] of tensors.entries()) starts.push(starts[i]! + t.shape[d]!);
  tensors.forEach((t, i) => {
    const [dims, steps] = parts[i]!;
    runNative(() => kernels.strided_write({ y: t, x: y, offset: starts[i]! * strides[d]!, dims, strides: steps }));
  });
  return record(y, tensors, (dy) => tensors.map((t, i) => slice(dy, d, starts[i]!, starts[i]! + t.shape[d]!)));
}
