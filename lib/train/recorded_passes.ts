/** The passes and the update of a training step, recorded as a CUDA graph. */
import type { Batch } from '../data';
import type { Device } from '../device';
import { RecordedStep } from '../recorded_step';
import { keep } from '../scope';
import { empty, type Tensor, tensor } from '../tensor';

export interface RecordedPassesOptions {
  /** Where the model is: a CUDA device. */
  readonly device: Device;
  /** Forward and backward passes of a step. */
  readonly passes: number;
  /** [batch, seq] of the ids of a pass. */
  readonly shape: readonly [number, number];
  /** One pass. */
  readonly pass: (inputs: Tensor, targets: Tensor) => Tensor;
  /** After the passes. */
  readonly update: () => void;
}

export class RecordedPasses implements Disposable {
  readonly #ids: readonly (readonly [Tensor, Tensor])[];
  readonly #step: RecordedStep;

  constructor({ device, passes, shape, pass, update }: RecordedPassesOptions) {
    const ids = () => keep(empty(shape, 'int32', device));
    this.#ids = Array.from({ length: passes }, () => [ids(), ids()]);
    this.#step = new RecordedStep(() => {
      const losses = this.#ids.map(([inputs, targets]) => pass(inputs, targets));
      update();
      return losses;
    }, device);
  }

  /** A step on one batch for each pass. The losses belong to the step: the next run overwrites them. */
  run(batches: readonly Batch[]): readonly Tensor[] {
    for (const [i, { inputs, targets }] of batches.entries())
      for (const [j, values] of [inputs, targets].entries()) {
        const to = this.#ids[i]![j]!;
        using from = tensor(values, to.shape);
        to.copyFrom(from);
      }
    return this.#step.run();
  }

  [Symbol.dispose](): void {
    this.#step.dispose();
    for (const t of this.#ids.flat()) t.dispose();
  }
}
