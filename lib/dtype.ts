/** Element types. A new one is a row here, one in native/codes.def, and its loads and stores. */
import { checkChoice } from './errors';

/** Of native memory. */
export type ElementType = 'float32' | 'int32' | 'bfloat16' | 'int8';
/** Of tensors. */
export type DType = Exclude<ElementType, 'int8'>;
/** The JavaScript arrays that hold elements of tensors as numbers. */
export type TypedArray = Float32Array | Int32Array;

interface ArrayTypes {
  readonly float32: Float32Array;
  readonly int32: Int32Array;
  /** JavaScript has no such numbers: their bits. */
  readonly bfloat16: Uint16Array;
  readonly int8: Int8Array;
}

/** The typed array over memory of an element type. */
export type ArrayOf<T extends ElementType> = ArrayTypes[T];

interface ElementInfo<T extends ElementType> {
  readonly bytes: number;
  readonly array: new (lengthOrBuffer: number | ArrayBuffer) => ArrayOf<T>;
}

export const ELEMENTS: { readonly [T in ElementType]: ElementInfo<T> } = {
  float32: { bytes: 4, array: Float32Array },
  int32: { bytes: 4, array: Int32Array },
  bfloat16: { bytes: 2, array: Uint16Array },
  int8: { bytes: 1, array: Int8Array },
};

export const DTYPE_NAMES: readonly DType[] = ['float32', 'int32', 'bfloat16'];

/** @throws {OptionError} for an unknown name. */
export function checkDType(where: string, dtype: unknown): asserts dtype is DType {
  checkChoice(where, dtype, DTYPE_NAMES);
}

// The intrinsic getters of all typed arrays, whose answers nothing can forge; for the tag 60 times as fast as
// Object.prototype.toString.
const intrinsic = <T>(name: PropertyKey): ((data: unknown) => T) => {
  const { get } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Int8Array.prototype), name) ?? {};
  return (data) => get?.call(data);
};
const tagGetter = intrinsic<string | undefined>(Symbol.toStringTag);

/** The name of a typed array's class; empty for anything else. */
export const tagOf = (data: unknown): string => String(tagGetter(data) ?? '');

/** What a typed array itself says, whatever properties it was given. @throws {TypeError} for anything else. */
export const lengthOf = intrinsic<number>('length');
export const bufferOf = intrinsic<ArrayBufferLike>('buffer');
export const byteOffsetOf = intrinsic<number>('byteOffset');
export const byteLengthOf = intrinsic<number>('byteLength');

const elementAt: (this: unknown, index: number) => unknown = Object.getPrototypeOf(Int8Array.prototype).at;

/**
 * Whether the memory of a view was transferred away, or shrank until the view no longer fits. Its length is 0 then, and every
 * method of typed arrays refuses it.
 */
export function isDetached(array: TypedArray | Uint16Array): boolean {
  if (lengthOf(array) > 0) return false;
  try {
    elementAt.call(array, 0);
    return false;
  } catch {
    return true;
  }
}

/** The dtype of a typed array, by its tag: `instanceof` fails across realms (jest, vm contexts). */
export function dtypeOf(data: unknown): DType | null {
  const tag = tagOf(data);
  if (tag === 'Float32Array') return 'float32';
  return tag === 'Int32Array' ? 'int32' : null;
}

/** What a value is, for messages. */
export const classOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);
