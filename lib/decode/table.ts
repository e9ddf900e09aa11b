/** Measurements of a machine: for each layer shape, how long factors and merged matrix take by token count. */
import { type Device, deviceStatus, getIsa, getNumThreads } from '../device';
import type { ActivationDType, WeightDType } from './matrix';

/** Times of one layer at one number of tokens. */
export interface Crossover {
  /** Rows of the product. */
  readonly tokens: number;
  /** Microseconds. */
  readonly factored: number;
  /** Microseconds. */
  readonly merged: number;
}

/** What was measured, by layer shape, weight type and setting of the machine. */
export type CrossoverTable = ReadonlyMap<string, readonly Crossover[]>;

/** The merged form must be faster by this factor: below it noise decides, and memory is used for nothing. */
const MARGIN = 0.97;

const gpus = new Map<Device, string>();
function gpuName(device: Device): string {
  const name = gpus.get(device) ?? deviceStatus(device);
  gpus.set(device, name);
  return name;
}

/** What computes at present: threads and instruction set, or the name of the GPU. */
export const settingOf = (device: Device): string =>
  device === 'cpu' ? `${getNumThreads()} threads ${getIsa()}` : gpuName(device);

/** By the sizes of a layer. A layer that can be merged has no activation between its factors. */
export const tableKey = (
  [K, q, p, L, s, r]: Int32Array,
  dtype: WeightDType,
  activations: ActivationDType,
  setting: string,
): string => `${[K, q, p, L, s, r].join(',')} ${dtype}${activations === 'int8' ? ' with int8 rows' : ''} ${setting}`;

/** Whether the merged form is faster at the measured token counts on both sides of `tokens`. */
export function prefersMerged(measured: readonly Crossover[] | undefined, tokens: number): boolean {
  if (measured === undefined || measured.length === 0) return false;
  const wins = ({ factored, merged }: Crossover) => merged < MARGIN * factored;
  const below = measured.findLast((entry) => entry.tokens <= tokens);
  const above = measured.find((entry) => entry.tokens >= tokens);
  return [below, above].every((entry) => entry === undefined || wins(entry));
}
