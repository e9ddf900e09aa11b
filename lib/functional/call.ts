/**
 * One kernel call on raw arrays, prepared once and run either way. Synchronous: the kernel works on the caller's own
 * memory. Asynchronous: it works on native copies, so that the caller may change its arrays meanwhile.
 */
import type { Kernels, Operand } from '../../types/native';
import { ELEMENTS, isDetached, lengthOf } from '../dtype';
import { DisposedError, fromNative, OptionError, runNative } from '../errors';
import { asyncKernels, kernels } from '../kernels';
import { Storage } from '../storage';
import { checkApart, checkLength, isShared, type RawArray, type RawType } from './buffers';

export interface Call<In extends string, Out extends string, T extends RawArray> {
  /** The prefix of every message. */
  readonly where: string;
  /** Of all arrays: the type of T. */
  readonly type: RawType;
  /** Checked arrays; null for an operand left out. */
  readonly inputs: Readonly<Record<In, T | null>>;
  /** The wanted number of elements of each output; 0: not computed. */
  readonly outputs: Readonly<Record<Out, number>>;
  readonly run: <R>(kernels: Kernels<R>, a: Operands<In>, o: Operands<Out>) => R;
}

type Operands<Name extends string> = Readonly<Record<Name, Operand>>;

/** The caller's arrays for some outputs, instead of fresh ones. */
export type OutArrays<Out extends string, T extends RawArray = Float32Array> = { readonly [Name in Out]?: T };

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

type Results<Out extends string, T extends RawArray> = Partial<Record<Out, T>>;

const fresh = <T extends RawArray>(type: RawType, length: number): T => new ELEMENTS[type].array(length) as T;

/** The caller's arrays, each read once. @throws for one that cannot take its output. */
function checkOut<In extends string, Out extends string, T extends RawArray>(
  call: Call<In, Out, T>,
  out: OutArrays<Out, T>,
): Results<Out, T> {
  const given: Results<Out, T> = {};
  for (const name in call.outputs) {
    const array: T | undefined = out[name];
    if (array === undefined) continue;
    const length = call.outputs[name];
    if (length === 0) throw new OptionError(`${call.where}: out.${name}`, 'an output of this call', array);
    checkLength(`${call.where}: out.${name}`, array, length, call.type);
    given[name] = array;
  }
  const arrays = Object.values<T | undefined>(given).filter((array) => array !== undefined);
  if (arrays.length > 0) checkApart(call.where, present(call.inputs), arrays);
  return given;
}

function present<T extends RawArray>(arrays: Readonly<Record<string, T | null>>): T[] {
  const found: T[] = [];
  for (const name in arrays) {
    const array = arrays[name];
    if (array) found.push(array);
  }
  return found;
}

/** Runs the kernel now; outputs are fresh arrays, or the caller's. */
export function runCall<In extends string, Out extends string, T extends RawArray>(
  call: Call<In, Out, T>,
  out: OutArrays<Out, T> = {},
): Results<Out, T> {
  const given = checkOut(call, out);
  const results: Results<Out, T> = {};
  const operands: Partial<Record<Out, Operand>> = {};
  for (const name in call.outputs) {
    const length = call.outputs[name];
    if (length > 0) results[name] = given[name] ?? fresh<T>(call.type, length);
    operands[name] = results[name] ?? null;
  }
  runNative(() => call.run(kernels, call.inputs, operands as Operands<Out>));
  return results;
}

/**
 * Runs the kernel as a job on a native thread; jobs run one after the other. The inputs are copied before this returns.
 * @throws {DisposedError} (as a rejection) when an array of the call was detached before the job was done.
 */
export async function runCallAsync<In extends string, Out extends string, T extends RawArray>(
  call: Call<In, Out, T>,
  out: OutArrays<Out, T> = {},
): Promise<Results<Out, T>> {
  const given = checkOut(call, out);
  const callers = [
    ...present(call.inputs),
    ...Object.values<T | undefined>(given).filter((array) => array !== undefined),
  ];
  if (callers.some(isShared))
    throw new OptionError(call.where, 'memory of this thread alone in an asynchronous call', 'a SharedArrayBuffer');
  const copies: Storage<RawType>[] = [];
  const allocate = (length: number) => {
    const copy = new Storage(length, call.type);
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
    const wanted: [Out, Storage<RawType>][] = [];
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
    const results: Results<Out, T> = {};
    for (const [name, copy] of wanted) {
      const result = given[name] ?? fresh<T>(call.type, copy.length);
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
