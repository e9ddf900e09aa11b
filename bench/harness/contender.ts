/** What is timed: one implementation of one problem, ours or a rival's. */
import { type Device, synchronize } from '../../lib/device';
import type { DType } from '../../lib/dtype';

export interface Contender {
  /** Who made it: ours, or the rival's name. */
  readonly side: string;
  /** The variant: rows with the same variant are compared in the report. */
  readonly variant: string;
  /** Results on the inputs of the problem, in an order that all contenders of a variant share. */
  outputs(): Promise<readonly Float32Array[]>;
  /** Milliseconds of each call; calls are made for about this time, at least one. */
  sample(milliseconds: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

export const OURS = 'structured-ffn';

/** Where ours computes, and with which type. */
export interface Placement {
  readonly device: Device;
  readonly dtype: DType;
}

export const ON_CPU: Placement = { device: 'cpu', dtype: 'float32' };

/** Ours on other devices than the CPU is a separate side, such as 'structured-ffn cuda bfloat16'. */
export const sideOf = ({ device, dtype }: Placement): string =>
  device === 'cpu' ? OURS : `${OURS} ${device} ${dtype}`;

export const isOurs = ({ side }: { readonly side: string }): boolean => side === OURS || side.startsWith(`${OURS} `);

/** Relative difference from our results on the CPU that still counts as rounding. */
export const mostError = ({ dtype }: Placement): number => (dtype === 'bfloat16' ? 5e-2 : 1e-3);

/** Makes a timed call last until the device is done. */
export const waitFor = ({ device }: Placement): void => {
  if (device !== 'cpu') synchronize(device);
};
