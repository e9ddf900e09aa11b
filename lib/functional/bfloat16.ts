/** Between float32 and the bits of bfloat16: the upper halves of those of float32. */
import { lengthOf } from '../dtype';
import { runNative } from '../errors';
import { kernels } from '../kernels';
import { checkRaw } from './buffers';

/**
 * The bits of the nearest bfloat16 numbers, of two equally near the even one. NaN stays NaN, and numbers beyond the largest
 * become infinite. @throws {DTypeError | DisposedError | OptionError} for anything but a Float32Array of memory of a fixed size.
 */
export function toBfloat16(values: Float32Array): Uint16Array {
  checkRaw('toBfloat16', values, 'float32');
  const bits = new Uint16Array(lengthOf(values));
  runNative(() => kernels.cast({ x: values, y: bits }));
  return bits;
}

/**
 * The same numbers in float32, exactly.
 * @throws {DTypeError | DisposedError | OptionError} for anything but a Uint16Array of memory of a fixed size.
 */
export function fromBfloat16(bits: Uint16Array): Float32Array {
  checkRaw('fromBfloat16', bits, 'bfloat16');
  const values = new Float32Array(lengthOf(bits));
  runNative(() => kernels.cast({ x: bits, y: values }));
  return values;
}
