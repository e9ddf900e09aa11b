/** Element types. A new one is a row here, one in native/codes.def, and its loads and stores. */
import { checkChoice } from './errors';

/** Of native memory. */
export type ElementType = 'float32' | 'int32' | 'bfloat16' | 'int8';
/** Of tensors. */
export type DType = Exclude<ElementType, 'int8'>;
/** The JavaScript arrays that hold elements of tensors. */
export type TypedArray = Float32Array | Int32Array;

interface TypedArrayConstructor {
  new (length: number): TypedArray;
  new (source: ArrayLike<number> | ArrayBuffer): TypedArray;
}

interface ElementInfo {
  readonly bytes: number;
  /** The typed array of a tensor's elements; null where JavaScript has none. */
  readonly array: TypedArrayConstructor | null;
}

export const ELEMENTS: Readonly<Record<ElementType, ElementInfo>> = {
  float32: { bytes: 4, array: Float32Array },
  int32: { bytes: 4, array: Int32Array },
  bfloat16: { bytes: 2, array: null },
  int8: { bytes: 1, array: null },
};

export const DTYPE_NAMES: readonly DType[] = ['float32', 'int32', 'bfloat16'];

/** @throws {OptionError} for an unknown name. */
export function checkDType(where: string, dtype: unknown): asserts dtype is DType {
  checkChoice(where, dtype, DTYPE_NAMES);
}

// The intrinsic getter of all typed arrays: 60 times as fast as Object.prototype.toString, and it cannot be forged.
const tagGetter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Int8Array.prototype), Symbol.toStringTag)?.get;

/** The name of a typed array's class; empty for anything else. */
export const tagOf = (data: unknown): string => String(tagGetter?.call(data) ?? '');

/** The dtype of a typed array, by its tag: `instanceof` fails across realms (jest, vm contexts). */
export function dtypeOf(data: unknown): DType | null {
  const tag = tagOf(data);
  if (tag === 'Float32Array') return 'float32';
  return tag === 'Int32Array' ? 'int32' : null;
}

/** What a value is, for messages. */
export const classOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);
