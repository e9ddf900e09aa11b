/** The checks that every op makes before native code runs. */
import type { Device } from '../device';
import { DTYPE_NAMES, type DType } from '../dtype';
import { DeviceError, DisposedError, DTypeError, formatShape, OptionError, ShapeError } from '../errors';
import { empty, isTensor, numel, type Shape, type Tensor } from '../tensor';

/**
 * The element types that an op takes, by what it does with an operand. This table is the one place that says so;
 * native/operands.h holds kernels to the same.
 */
export const OPERAND_DTYPES = {
  /** Numbers that are computed with, in float32: bfloat16 is widened, and results are rounded to it. */
  real: ['float32', 'bfloat16'],
  /** Numbers that are computed with in float32 alone. */
  float32: ['float32'],
  /** Ids, targets. */
  int32: ['int32'],
  /** Elements that are moved, and not read as numbers. */
  any: DTYPE_NAMES,
} as const satisfies Record<string, readonly DType[]>;

export type OperandKind = keyof typeof OPERAND_DTYPES;

/** @throws {OptionError | DisposedError | DTypeError} unless `value` is a live tensor whose elements the op takes. */
export function checkTensor(where: string, value: unknown, kind: OperandKind = 'real'): asserts value is Tensor {
  if (!isTensor(value)) throw new OptionError(where, 'a tensor', value);
  if (value.disposed) throw new DisposedError(where, 'the tensor was disposed');
  const accepted: readonly DType[] = OPERAND_DTYPES[kind];
  if (!accepted.includes(value.dtype)) throw new DTypeError(where, `a ${accepted.join(' or ')} tensor`, value.dtype);
}

/** @throws {ShapeError} unless the shapes are the same; -1 in `expected` matches any size. */
export function checkSameShape(where: string, value: Pick<Tensor, 'shape'>, expected: Shape): void {
  if (value.shape.length !== expected.length || expected.some((size, i) => size !== -1 && size !== value.shape[i]))
    throw new ShapeError(where, formatShape(expected).replaceAll('-1', '*'), formatShape(value.shape));
}

/** @throws {DeviceError} unless all operands live on one device, which it returns. */
export function checkSameDevice(
  where: string,
  first: Tensor,
  ...others: readonly (Tensor | null | undefined)[]
): Device {
  for (const other of others)
    if (other && other.device !== first.device)
      throw new DeviceError(`${where}: operands on '${first.device}' and '${other.device}'; move one with .to(device)`);
  return first.device;
}

/** @throws {DeviceError | DTypeError} unless all operands live on one device and have one element type. */
export function checkSameKind(where: string, first: Tensor, ...others: readonly (Tensor | null | undefined)[]): void {
  checkSameDevice(where, first, ...others);
  for (const other of others)
    if (other && other.dtype !== first.dtype)
      throw new DTypeError(
        where,
        `operands of one dtype (convert with .as(dtype))`,
        `${first.dtype} and ${other.dtype}`,
      );
}

/** Rows of a tensor whose last dimension is `features`. @throws {ShapeError} */
export function rowsOf(where: string, x: Tensor, features: number): number {
  if (x.rank < 1 || x.shape[x.rank - 1] !== features)
    throw new ShapeError(where, `[..., ${features}]`, formatShape(x.shape));
  return features === 0 ? numel(x.shape.slice(0, -1)) : x.size / features;
}

export const emptyLike = (t: Tensor): Tensor => empty(t, t.dtype, t.device);

/** Another shape, of the element type and on the device of `like`. */
export const emptyAs = (shape: Shape, like: Tensor): Tensor => empty(shape, like.dtype, like.device);

/** A gradient buffer for each operand, or null where none is wanted. */
export const gradientsFor = <Operands extends readonly (Tensor | null)[]>(...operands: Operands) =>
  operands.map((t) => (t?.requiresGrad ? emptyLike(t) : null)) as { [Index in keyof Operands]: Tensor | null };
