/** What is timed: one implementation of one problem, ours or a rival's. */
import { synchronize } from '../../lib/device';
import type { Placement } from './side';

export interface Contender {
  /** Who made it, how and in which precision (`sideName`). */
  readonly side: string;
  /** The variant: rows with the same variant are compared in the report. */
  readonly variant: string;
  /** Results on the inputs of the problem, in an order that all contenders of a variant share. */
  outputs(): Promise<readonly Float32Array[]>;
  /** Milliseconds of each call; calls are made for about this time, at least one. */
  sample(milliseconds: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

/** Makes a timed call last until the device is done. */
export const waitFor = ({ device }: Placement): void => {
  if (device !== 'cpu') synchronize(device);
};
