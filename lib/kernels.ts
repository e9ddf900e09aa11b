/**
 * The kernels. Each is called with one record, whose names are those of native/kernels.def. Only this file knows the
 * order in which the addon takes the values. Write the record out: with a spread in it, V8 (11) builds a new hidden
 * class for every call, which takes longer than a small kernel.
 */
import { compileFunction } from 'node:vm';
import type { Kernels, PositionalKernels } from '../types/native';
import { native } from './native';

/** The call as if written by hand. Looking the names up in a loop would cost as much as a small kernel. */
const calls = Object.entries(native.parameters).map(([kernel, parameters]) => {
  const names = parameters.split(',').map((parameter) => parameter.slice(parameter.lastIndexOf(' ') + 1));
  const values = names.map((name) => `call.${name}?.handle ?? call.${name}`);
  return `${kernel}: (call) => kernels.${kernel}(${values.join(', ')})`;
});
const byRecord = compileFunction(`return { ${calls.join(', ')} };`, ['kernels']) as <R>(
  positional: PositionalKernels<R>,
) => Kernels<R>;

/** Synchronously. Operands may be typed arrays. */
export const kernels: Kernels<void> = byRecord(native.kernels);

/** As jobs on a native thread, in order. Operands must be handles. */
export const asyncKernels: Kernels<Promise<void>> = byRecord(native.async);
