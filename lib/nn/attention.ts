import { checkInteger } from '../errors';
import { causalAttention, concat, type LinearOptions, reshape, slice } from '../ops';
import { checkKeys } from '../options';
import { Generator } from '../random';
import type { Tensor } from '../tensor';
import { Linear } from './linear';
import { Module } from './module';
import { RMSNorm } from './norm';
import { ATTENTION_OPTIONS, type AttentionConfig, resolveAttention } from './transformer_config';

/** Options of `CausalSelfAttention`. */
export interface AttentionModuleOptions extends AttentionConfig {
  /** Source of the initial values. Default: a generator of seed 0. */
  readonly generator?: Generator;
}

/**
 * Parameters: `qkv.weight` [(nHeads + 2·nKvHeads)·headSize, dModel] (queries, keys, values), `out.weight` [dModel, attnDim], their
 * biases, and with qkNorm `qnorm.weight` and `knorm.weight` [headSize].
 */
export class CausalSelfAttention extends Module {
  /** Projection to queries, keys and values: dModel → (nHeads + 2·nKvHeads)·headSize. */
  readonly qkv: Linear;
  /** Of each query head, and of each key head; null without qkNorm. */
  readonly qnorm: RMSNorm | null;
  /** Norm of each key; null without `qkNorm`. */
  readonly knorm: RMSNorm | null;
  /** Projection of what the heads found: nHeads·headSize → dModel. */
  readonly out: Linear;
  /** Features of one head. */
  readonly headSize: number;
  readonly #heads: number;
  readonly #kvHeads: number;
  readonly #ropeBase: number;

  /** @throws {OptionError} when the heads do not divide. */
  constructor(options: AttentionModuleOptions) {
    super();
    checkKeys('CausalSelfAttention', options, { ...ATTENTION_OPTIONS, generator: 0 });
    const { generator = new Generator(0) } = options;
    const { dModel, attnDim, nHeads, nKvHeads, headSize, ropeBase, qkvBias, outBias, qkNorm, normEps } =
      resolveAttention(options);
    this.headSize = headSize;
    this.#heads = nHeads;
    this.#kvHeads = nKvHeads;
    this.#ropeBase = ropeBase;
    const qkvFeatures = (nHeads + 2 * nKvHeads) * headSize;
    const linear = (inFeatures: number, outFeatures: number, bias: boolean) =>
      new Linear({ inFeatures, outFeatures, bias, generator });
    const headNorm = (name: string) => (qkNorm ? this.addModule(name, new RMSNorm(headSize, { eps: normEps })) : null);
    this.qkv = this.addModule('qkv', linear(dModel, qkvFeatures, qkvBias));
    this.qnorm = headNorm('qnorm');
    this.knorm = headNorm('knorm');
    this.out = this.addModule('out', linear(attnDim, dModel, outBias));
  }

  /** x [batch, seq, dModel] → the same shape, plus the residual of that shape. */
  forward(x: Tensor, options: Pick<LinearOptions, 'residual'> = {}): Tensor {
    this.checkAlive('forward');
    const heads = { heads: this.#heads, kvHeads: this.#kvHeads, ropeBase: this.#ropeBase };
    return this.out.forward(causalAttention(this.#normalized(this.qkv.forward(x)), heads), options);
  }

  /** qkv [batch, seq, features] with the norms of queries and keys, if there are any. */
  #normalized(qkv: Tensor): Tensor {
    const { qnorm, knorm } = this;
    if (qnorm === null || knorm === null) return qkv;
    const [keys, values] = [this.#heads, this.#heads + this.#kvHeads];
    const heads = reshape(qkv, [...qkv.shape.slice(0, 2), values + this.#kvHeads, this.headSize]);
    const part = (from: number, to: number) => slice(heads, 2, from, to);
    const parts = [
      qnorm.forward(part(0, keys)),
      knorm.forward(part(keys, values)),
      part(values, values + this.#kvHeads),
    ];
    return reshape(concat(parts, 2), qkv.shape);
  }

  /** Floating-point operations per token at a context of `seqLen`, forward; causality halves the products of scores. */
  flopsPerToken(seqLen: number): number {
    this.checkAlive('flopsPerToken');
    checkInteger('flopsPerToken: seqLen', seqLen, 0);
    return this.qkv.flopsPerToken + this.out.flopsPerToken + 2 * seqLen * this.#heads * this.headSize;
  }
}
