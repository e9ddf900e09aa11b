/** The training step of the benchmarks: forward, loss, backward, clipping, AdamW. */
import { TransformerLM } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { tidy } from '../../lib/scope';
import { type Tensor, tensor } from '../../lib/tensor';
import { type Contender, waitFor } from './contender';
import { timeCalls } from './sampling';
import { ON_CPU, type Placement, sideOf } from './side';
import type { Variant } from './variants';

export interface ModelSize {
  readonly dModel: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly vocabSize: number;
  readonly batch: number;
  readonly seqLen: number;
}

export const LEARNING_RATE = 3e-4;
const MAX_GRAD_NORM = 1;

export class OurModel implements Contender {
  readonly side: string;
  readonly variant: string;
  readonly model: TransformerLM;
  readonly ids: Tensor;
  readonly targets: Tensor;
  readonly #optimizer: AdamW;

  constructor(
    variant: Variant,
    readonly size: ModelSize,
    readonly placement: Placement = ON_CPU,
  ) {
    this.side = sideOf(placement);
    const { dModel, nLayers, nHeads, vocabSize, seqLen, batch } = size;
    const { structure, ratio, nblocks } = variant;
    const { device } = placement;
    this.variant = variant.name;
    // "ortho" and "svd" take seconds at this width and change nothing about the time of a step.
    const ffn = structure === 'dense' ? { structure } : { structure, ratio, nblocks, init: 'xavier' as const };
    this.model = new TransformerLM({ dModel, nLayers, nHeads, vocabSize, seqLen, ffn });
    this.model.to(placement.device, placement.dtype);
    this.#optimizer = new AdamW(this.model.namedParameters());
    const generator = new Generator(23);
    const row = Array.from({ length: batch * seqLen + 1 }, () => generator.nextInt(vocabSize));
    this.ids = tensor(Int32Array.from(row.slice(0, -1)), [batch, seqLen], { device });
    this.targets = tensor(Int32Array.from(row.slice(1)), [batch, seqLen], { device });
  }

  /** Returns the loss before the update. */
  step(): number {
    const value = tidy(() => {
      const loss = this.model.loss(this.ids, this.targets);
      loss.backward(null, { releaseGraph: true });
      return loss.item();
    });
    this.#optimizer.step({ lr: LEARNING_RATE, maxGradNorm: MAX_GRAD_NORM });
    this.#optimizer.zeroGrad();
    return value;
  }

  /** Floating-point operations of a step's forward and backward. */
  get flops(): number {
    return 3 * this.model.flopsPerToken().total * this.size.batch * this.size.seqLen;
  }

  async outputs(): Promise<readonly Float32Array[]> {
    return [Float32Array.of(this.step())];
  }

  sample(milliseconds: number): Promise<readonly number[]> {
    return timeCalls(() => {
      this.step();
      waitFor(this.placement);
    }, milliseconds);
  }

  async close(): Promise<void> {
    this.#optimizer.dispose();
    this.model.dispose();
    this.ids.dispose();
    this.targets.dispose();
  }
}
