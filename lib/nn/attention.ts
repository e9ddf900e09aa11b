import { checkInteger, OptionError } from '../errors';
import { causalAttention, type LinearOptions } from '../ops';
import { Generator } from '../random';
import type { Tensor } from '../tensor';
import { Linear } from './linear';
import { Module } from './module';

export interface AttentionModuleOptions {
  readonly dModel: number;
  readonly nHeads: number;
  /** Key and value heads. Default: nHeads. */
  readonly nKvHeads?: number;
  /** Width of all query heads together. Default: dModel. */
  readonly attnDim?: number;
  /** Base of the rotary positions; 0 for none. Default: 10000. */
  readonly ropeBase?: number;
  /** Default: true. */
  readonly bias?: boolean;
  readonly generator?: Generator;
}

/** Parameters: `qkv.weight` [(nHeads + 2·nKvHeads)·headSize, dModel] (queries, keys, values), `out.weight` [dModel, attnDim]. */
export class CausalSelfAttention extends Module {
  readonly qkv: Linear;
  readonly out: Linear;
  readonly headSize: number;
  readonly #heads: number;
  readonly #kvHeads: number;
  readonly #ropeBase: number;

  /** @throws {OptionError} when the heads do not divide. */
  constructor(options: AttentionModuleOptions) {
    super();
    const { dModel, nHeads, nKvHeads = nHeads, attnDim = dModel, ropeBase = 10000, bias } = options;
    const generator = options.generator ?? new Generator(0);
    checkInteger('attention: nHeads', nHeads);
    checkInteger('attention: nKvHeads', nKvHeads);
    checkInteger('attention: attnDim', attnDim);
    if (attnDim % nHeads !== 0) throw new OptionError('attention: nHeads', `a divisor of attnDim (${attnDim})`, nHeads);
    if (nHeads % nKvHeads !== 0)
      throw new OptionError('attention: nKvHeads', `a divisor of nHeads (${nHeads})`, nKvHeads);
    this.headSize = attnDim / nHeads;
    if (ropeBase > 0 && this.headSize % 2 !== 0)
      throw new OptionError('attention: head size', 'an even number for rotary positions', this.headSize);
    this.#heads = nHeads;
    this.#kvHeads = nKvHeads;
    this.#ropeBase = ropeBase;
    const qkvFeatures = (nHeads + 2 * nKvHeads) * this.headSize;
    this.qkv = this.addModule('qkv', new Linear({ inFeatures: dModel, outFeatures: qkvFeatures, bias, generator }));
    this.out = this.addModule('out', new Linear({ inFeatures: attnDim, outFeatures: dModel, bias, generator }));
  }

  /** x [batch, seq, dModel] → the same shape, plus the residual of that shape. */
  forward(x: Tensor, options: Pick<LinearOptions, 'residual'> = {}): Tensor {
    const heads = { heads: this.#heads, kvHeads: this.#kvHeads, ropeBase: this.#ropeBase };
    return this.out.forward(causalAttention(this.qkv.forward(x), heads), options);
  }

  /** Floating-point operations per token at a context of `seqLen`, forward; causality halves the products of scores. */
  flopsPerToken(seqLen: number): number {
    return this.qkv.flopsPerToken + this.out.flopsPerToken + 2 * seqLen * this.#heads * this.headSize;
  }
}
