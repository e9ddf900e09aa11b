/** What every linear layer, dense or structured, can do. */
import { zeros } from '../creation';
import type { LinearOptions, LinearWeights } from '../ops';
import { type LinearDims, linearDims, mergeFactors, structuredLinear } from '../ops';
import { checkKeys, type OptionNames } from '../options';
import { Generator } from '../random';
import type { Tensor } from '../tensor';
import type { Init } from './init';
import { Module } from './module';
import { type ChosenSizes, checkFeatures, type SizeOptions } from './sizes';

export type Structure = 'dense' | 'lowrank' | 'blockdense' | 'blockshuffle';

export interface LinearLayerOptions extends SizeOptions {
  /** Default: true. */
  readonly bias?: boolean;
  /** Default: what the paper uses for the structure. */
  readonly init?: Init;
  /** Source of the initial values. Default: a generator of seed 0. */
  readonly generator?: Generator;
}

const OPTIONS: OptionNames<LinearLayerOptions> = {
  inFeatures: 0,
  outFeatures: 0,
  rank: 0,
  nblocks: 0,
  ratio: 0,
  bias: 0,
  init: 0,
  generator: 0,
};

export interface LinearForward {
  forward(x: Tensor, options?: LinearOptions): Tensor;
  /** The operands of one forward call, for kernels that fuse several layers. */
  weights(): LinearWeights;
}

export abstract class LinearLayer extends Module implements LinearForward {
  abstract readonly structure: Structure;
  readonly inFeatures: number;
  readonly outFeatures: number;
  #bias: Tensor | null = null;

  protected constructor(where: string, options: LinearLayerOptions) {
    super();
    checkKeys(where, options, OPTIONS);
    checkFeatures(where, options);
    this.inFeatures = options.inFeatures;
    this.outFeatures = options.outFeatures;
  }

  /** Called last by subclasses, so that state dicts list weights before the bias. */
  protected addBias(wanted = true): void {
    if (wanted) this.#bias = this.addParameter('bias', zeros([this.outFeatures]));
  }

  get bias(): Tensor | null {
    return this.#bias;
  }

  /** First factor; null for a dense layer. */
  abstract get v(): Tensor | null;
  /** Second factor, or the dense weight. */
  abstract get u(): Tensor;

  weights(): LinearWeights {
    return { v: this.v, u: this.u, bias: this.bias };
  }

  /** x [..., inFeatures] → [..., outFeatures]. */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    return structuredLinear(x, this.weights(), options);
  }

  get dims(): LinearDims {
    return linearDims(this.structure, this.v?.shape ?? null, this.u.shape);
  }

  /** The exact dense matrix [outFeatures, inFeatures] of the factors, in memory of its own. */
  merge(): Tensor {
    return mergeFactors(this.v!, this.u);
  }

  /** Floating-point operations per token, forward: 2 per multiply-accumulate. */
  get flopsPerToken(): number {
    return 2 * this.dims.macs;
  }

  /** The sizes in use, and the part of the dense parameters that they keep. */
  describe(): ChosenSizes {
    const parameters = (this.v?.size ?? 0) + this.u.size;
    return { ...this.sizes(), parameters, ratio: parameters / (this.inFeatures * this.outFeatures) };
  }

  protected abstract sizes(): { rank?: number; nblocks?: number };
}

/** The generator of the options, or the default one. */
export const generatorOf = (options: LinearLayerOptions): Generator => options.generator ?? new Generator(0);
