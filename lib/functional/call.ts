/**
 * One kernel call on raw arrays, prepared once and run either way. Synchronous: the kernel works on the caller's own
 * memory. Asynchronous: it works on native copies, so that the caller may change its arrays meanwhile.
 */
import type { Kernels, Operand } from '../../types/native';
import { isDetached, lengthOf } from '../dtype';
import { DisposedError, fromNative, OptionError, runNative } from '../errors';
import { asyncKernels, kernels } from '../kernels';
import { Storage } from '../storage';
import { checkApart, checkLength, isShared } from './buffers';

export interface Call<In extends string, Out extends string> {
  /** The prefix of every message. */
  readonly where: string;
  /** Checked arrays; null for an operand left out. */
  readonly inputs: Readonly<Record<In, Float32Array | null>>;
  /** The wanted number of elements of each output; 0: not computed. */
  readonly outputs: Readonly<Record<Out, number>>;
  readonly run: <R>(kernels: Kernels<R>, a: Operands<In>, o: Operands<Out>) => R;
}

type Operands<Name extends string> = Readonly<Record<Name, Operand>>;

/** The caller's arrays for some outputs, instead of fresh ones. */
export type OutArrays<Out extends string> = { readonly [Name in Out]?: Float32Array };

/** @throws {OptionError} unless `value` is an object. */
export function checkObject(where: string, value: unknown): void {
  if (value === null || typeof value !== 'object') throw new OptionError(where, 'an object', value);
}

/** The options, with `out` at least empty. @throws {OptionError} */
export function checkOptions<T extends { out?: object }>(where: string, options: T | undefined): Partial<T> {
  if (options === undefined) return {};
  checkObject(`${where}: options`, options);
  if (options.out !== undefined) checkObject(`${where}: out`, options.out);
  return options;
}

/** `lengths` with 0 for every output that is not in `needs`. All stay if `needs` is undefined. @throws {OptionError} */
export function select<Out extends string>(
  where: string,
  lengths: Readonly<Record<Out, number>>,
  needs: readonly Out[] | undefined,
): Record<Out, number> {
  const selected: Record<Out, number> = { ...lengths };
  if (needs === undefined) return selected;
  const names = (Object.keys(lengths) as Out[]).filter((name) => lengths[name] > 0);
  if (!Array.isArray(needs) || needs.length === 0 || !needs.every((name) => names.includes(name)))
    throw new OptionError(`${where}: needs`, `one or more of ${names.join(', ')}`, needs);
  for (const name of names) if (!needs.includes(name)) selected[name] = 0;
  return selected;
}

type Results<Out extends string> = Partial<Record<Out, Float32Array>>;

/** The caller's arrays, each read once. @throws for one that cannot take its output. */
function checkOut<In extends string, Out extends string>(call: Call<In, Out>, out: OutArrays<Out>): Results<Out> {
  const given: Results<Out> = {};
  for (const name in call.outputs) {
    const array: unknown = out[name];
    if (array === undefined) continue;
    const length = call.outputs[name];
    if (length === 0) throw new OptionError(`${call.where}: out.${name}`, 'an output of this call', array);
    checkLength(`${call.where}: out.${name}`, array, length);
    given[name] = array;
  }
  const arrays = Object.values<Float32Array | undefined>(given).filter((array) => array !== undefined);
  if (arrays.length > 0) checkApart(call.where, present(call.inputs), arrays);
  return given;
}

function present(arrays: Readonly<Record<string, Float32Array | null>>): Float32Array[] {
  const found: Float32Array[] = [];
  for (const name in arrays) {
    const array = arrays[name];
    if (array) found.push(array);
  }
  return found;
}

/** Runs the kernel now; outputs are fresh arrays, or the caller's. */
export function runCall<In extends string, Out extends string>(
  call: Call<In, Out>,
  out: OutArrays<Out> = {},
): Results<Out> {
  const given = checkOut(call, out);
  const results: Results<Out> = {};
  const operands: Partial<Record<Out, Operand>> = {};
  for (const name in call.outputs) {
    const length = call.outputs[name];
    if (length > 0) results[name] = given[name] ?? new Float32Array(length);
    operands[name] = results[name] ?? null;
  }
  runNative(() => call.run(kernels, call.inputs, operands as Operands<Out>));
  return results;
}

/**
 * Runs the kernel as a job on a native thread; jobs run one after the other. The inputs are copied before this returns.
 * @throws {DisposedError} (as a rejection) when an array of the call was detached before the job was done.
 */
export async function runCallAsync<In extends string, Out extends string>(
  call: Call<In, Out>,
  out: OutArrays<Out> = {},
): Promise<Results<Out>> {
  const given = checkOut(call, out);
  const callers = [
    ...present(call.inputs),
    ...Object.values<Float32Array | undefined>(given).filter((array) => array !== undefined),
  ];
  if (callers.some(isShared))
    throw new OptionError(call.where, 'memory of this thread alone in an asynchronous call', 'a SharedArrayBuffer');
  const copies: Storage<'float32'>[] = [];
  const allocate = (length: number) => {
    const copy = new Storage(length, 'float32');
    copies.push(copy);
    return copy;
  };
  try {
    const inputs: Partial<Record<In, Operand>> = {};
    for (const name in call.inputs) {
      const array = call.inputs[name];
      inputs[name] = null;
      if (array === null) continue;
      const copy = allocate(lengthOf(array));
      copy.array.set(array);
      inputs[name] = copy;
    }
    const outputs: Partial<Record<Out, Operand>> = {};
    const wanted: [Out, Storage<'float32'>][] = [];
    for (const name in call.outputs) {
      const length = call.outputs[name];
      outputs[name] = null;
      if (length === 0) continue;
      const copy = allocate(length);
      wanted.push([name, copy]);
      outputs[name] = copy;
    }
    await call.run(asyncKernels, inputs as Operands<In>, outputs as Operands<Out>);
    if (callers.some(isDetached))
      throw new DisposedError(call.where, 'the memory of an array was transferred away before the job was done');
    const results: Results<Out> = {};
    for (const [name, copy] of wanted) {
      const result = given[name] ?? new Float32Array(copy.length);
      result.set(copy.array);
      results[name] = result;
    }
    return results;
  } catch (error) {
    throw fromNative(error);
  } finally {
    for (const copy of copies) copy.dispose();
  }
}
