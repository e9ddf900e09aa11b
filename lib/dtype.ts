/** Element types. A new one is a row here, one in native/tensor.h, and its loads and stores. */
import { checkChoice } from './errors';

export type DType = 'float32' | 'int32';
export type TypedArray = Float32Array | Int32Array;

interface DTypeInfo {
  /** What native.allocate calls it. */
  readonly code: number;
  readonly bytes: number;
  readonly array: new (buffer: ArrayBuffer) => TypedArray;
}

export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  float32: { code: 0, bytes: 4, array: Float32Array },
  int32: { code: 1, bytes: 4, array: Int32Array },
};

/** @throws {OptionError} for a name that is none of ours. */
export function checkDType(where: string, dtype: unknown): asserts dtype is DType {
  checkChoice(where, dtype, ['float32', 'int32']);
}

/** The dtype of a typed array, by its tag: `instanceof` fails across realms (jest, vm contexts). */
export function dtypeOf(data: unknown): DType | null {
  if (!ArrayBuffer.isView(data)) return null;
  const tag = Object.prototype.toString.call(data);
  if (tag === '[object Float32Array]') return 'float32';
  return tag === '[object Int32Array]' ? 'int32' : null;
}
