/** The passes of a training step and its update: launched one by one, or replayed as a CUDA graph. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Batch } from '../data';
import { OptionError } from '../errors';
import type { TransformerLM } from '../nn';
import { scale } from '../ops';
import { GradientClip, isRecordable, type Optimizer, type RecordableOptimizer, type UpdateResult } from '../optim';
import { keep, tidy } from '../scope';
import { type Tensor, tensor } from '../tensor';
import type { TrainConfig } from './config';
import { checkedUpdate } from './optimizer';
import { RecordedPasses } from './recorded_passes';
import type { Skipping } from './skipping';
import type { TrainerOptions } from './trainer';

/** A step that the device may still be computing. */
export interface Launched {
  /** Of each pass. */
  readonly losses: readonly Tensor[];
  readonly update: UpdateResult;
  /** Where that was decided before the update. */
  readonly skipped?: boolean;
  /** To be called when the losses were read. */
  release(): void;
}

export const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, each) => sum + each / values.length, 0);

function recordable(optimizer: Optimizer): RecordableOptimizer {
  if (isRecordable(optimizer)) return optimizer;
  throw new OptionError('train: recordSteps', 'false with an optimizer that has no prepareStep and applyStep', true);
}

export class StepLauncher implements Disposable {
  readonly #model: TransformerLM;
  readonly #optimizer: Optimizer;
  /** The same for recorded steps. */
  readonly #recordable: RecordableOptimizer | null;
  readonly #skipping: Skipping;
  readonly #config: TrainConfig;
  readonly #onGradients: TrainerOptions['onGradients'];
  readonly #clip: GradientClip;
  #recorded: RecordedPasses | null = null;

  constructor(
    model: TransformerLM,
    optimizer: Optimizer,
    skipping: Skipping,
    config: TrainConfig,
    onGradients: TrainerOptions['onGradients'],
  ) {
    this.#model = model;
    this.#optimizer = optimizer;
    this.#recordable = config.recordSteps ? recordable(optimizer) : null;
    this.#skipping = skipping;
    this.#config = config;
    this.#onGradients = onGradients;
    this.#clip = new GradientClip(config.device);
  }

  /** @param guided whether there are guides: a step with them cannot be recorded. */
  launch(batches: readonly Batch[], lr: number, guided: boolean): Promise<Launched> {
    return this.#recordable && !guided ? this.#replay(this.#recordable, batches, lr) : this.#compute(batches, lr);
  }

  async #compute(batches: readonly Batch[], lr: number): Promise<Launched> {
    const { device, maxGradNorm = 1, skip } = this.#config;
    const losses: Tensor[] = [];
    for (const { inputs, targets, rows } of batches) {
      await nextTurn();
      const shape = [rows, inputs.length / rows];
      losses.push(tidy(() => this.#pass(tensor(inputs, shape, { device }), tensor(targets, shape, { device }))));
    }
    await this.#onGradients?.(this.#model.namedParameters());
    const clip = this.#clip.measure(this.#model.parameters(), maxGradNorm);
    losses.forEach(keep);
    const release = () => {
      for (const loss of losses) loss.dispose();
    };
    const step = () => checkedUpdate(this.#optimizer.step({ lr, clip }));
    if (skip === undefined) return { losses, update: step(), release };
    // Whether it is skipped shows before the update, at the price of waiting for the device.
    const loss = meanOf(clip.result.readWith(losses));
    const skipped = this.#skipping.skips(loss, clip.result.gradNorm);
    return { losses, update: skipped ? clip.result : step(), skipped, release };
  }

  /** The same with a CUDA graph; while the step is recorded the event loop is blocked. */
  async #replay(optimizer: RecordableOptimizer, batches: readonly Batch[], lr: number): Promise<Launched> {
    await nextTurn();
    const recorded = this.#recordedPasses(optimizer);
    const update = optimizer.prepareStep({ lr, clip: this.#clip.begin() });
    // The losses belong to the recording.
    return { losses: recorded.run(batches), update, release: () => {} };
  }

  /** Forward and backward; returns the loss. */
  #pass(inputs: Tensor, targets: Tensor): Tensor {
    const { gradientAccumulation: passes = 1 } = this.#config;
    return tidy(() => {
      const loss = this.#model.loss(inputs, targets);
      (passes > 1 ? scale(loss, 1 / passes) : loss).backward(null, { releaseGraph: passes === 1 });
      return loss;
    });
  }

  #recordedPasses(optimizer: RecordableOptimizer): RecordedPasses {
    const { batchSize, seqLen = this.#config.model.seqLen, gradientAccumulation = 1, maxGradNorm = 1 } = this.#config;
    this.#recorded ??= new RecordedPasses({
      device: this.#model.embedding.weight.device,
      passes: gradientAccumulation,
      shape: [batchSize, seqLen],
      pass: (inputs, targets) => this.#pass(inputs, targets),
      update: () => {
        this.#clip.launch(this.#model.parameters(), maxGradNorm);
        optimizer.applyStep();
        optimizer.zeroGrad();
      },
    });
    return this.#recorded;
  }

  [Symbol.dispose](): void {
    this.#recorded?.[Symbol.dispose]();
    this.#clip[Symbol.dispose]();
  }
}
