/** What is timed: one implementation of one problem, ours or a rival's. */

export interface Contender {
  /** Who made it: ours, or the rival's name. */
  readonly side: string;
  /** The variant, so that rows of one structure meet in the report. */
  readonly variant: string;
  /** Results on the inputs of the problem, in an order that all contenders of a variant share. */
  outputs(): Promise<readonly Float32Array[]>;
  /** Milliseconds of each of the calls made in about this time, at least one. */
  sample(milliseconds: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

export const OURS = 'structured-ffn';
