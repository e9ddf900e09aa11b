/** A linear layer of any structure. */
import { clone, zeros } from '../creation';
import { checkChoice, checkInstance } from '../errors';
import type { LinearOptions, LinearWeights } from '../ops';
import { type InnerActivation, type LinearDims, linearDims, mergeFactors, structuredLinear } from '../ops';
import { checkMergeable } from '../ops/inner_activation';
import { checkKeys, type OptionNames } from '../options';
import { Generator } from '../random';
import {
  checkStructure,
  chooseLayer,
  DEFINITIONS,
  parametersOf,
  type SizeOptions,
  type Sizes,
  type Structure,
} from '../structures';
import type { Tensor } from '../tensor';
import { type Init, initFactors } from './init';
import { Module } from './module';

/** Options of a linear layer: its widths, and sizes or a ratio. */
export interface LinearLayerOptions extends SizeOptions {
  /** Default: true. */
  readonly bias?: boolean;
  /** Default: what the paper uses for the structure. */
  readonly init?: Init;
  /** Source of the initial values. Default: a generator of seed 0. */
  readonly generator?: Generator;
}

/** The sizes of a structured layer, given or chosen. */
export interface ChosenSizes extends Sizes {
  /** Weights, without the bias. */
  readonly parameters: number;
  /** parameters / (inFeatures · outFeatures). */
  readonly ratio: number;
  /** Why these sizes, if a ratio chose them. */
  readonly why?: string;
}
const OPTIONS: OptionNames<LinearLayerOptions> = {
  inFeatures: 0,
  outFeatures: 0,
  rank: 0,
  nblocks: 0,
  ratio: 0,
  innerActivation: 0,
  bias: 0,
  init: 0,
  generator: 0,
};

/** What feedforward networks need of a layer, guided or not. */
export interface LinearForward {
  /** x [..., inFeatures] → [..., outFeatures], halved by swiglu. */
  forward(x: Tensor, options?: LinearOptions): Tensor;
  /** The operands of one forward call, for kernels that fuse several layers. */
  weights(): LinearWeights;
}

/**
 * Parameters: `v` and `u`, of the shapes that docs/checkpoint.md lists, or `weight` [out, in] for a dense layer; `bias`
 * [out].
 */
export class LinearLayer extends Module implements LinearForward {
  /** Which structure its matrix has. */
  readonly structure: Structure;
  /** Features of the input. */
  readonly inFeatures: number;
  /** Features of the result, before an activation. */
  readonly outFeatures: number;
  /** First factor; null for a dense layer. */
  readonly v: Tensor | null;
  /** Second factor, or the dense weight. */
  readonly u: Tensor;
  /** Bias [outFeatures]; null where there is none. */
  readonly bias: Tensor | null;
  /** Between the factors. */
  readonly innerActivation: InnerActivation;
  readonly #why?: string;

  /** @throws {OptionError} for sizes that the structure does not allow. */
  constructor(structure: Structure, options: LinearLayerOptions) {
    super();
    checkStructure('LinearLayer: structure', structure);
    const { linear: where, inits } = DEFINITIONS[structure];
    checkKeys(where, options, OPTIONS);
    const { init = inits[0], generator = new Generator(0), bias = true, innerActivation = 'none' } = options;
    const chosen = chooseLayer(where, structure, options);
    checkChoice(`${where}: init`, init, inits);
    checkInstance(`${where}: generator`, generator, Generator);
    this.structure = structure;
    this.inFeatures = options.inFeatures;
    this.outFeatures = options.outFeatures;
    this.innerActivation = innerActivation;
    this.#why = chosen.why;
    const { v, u } = initFactors(generator, chosen, init);
    this.v = v && this.addParameter('v', v);
    this.u = this.addParameter(v ? 'u' : 'weight', u);
    this.bias = bias ? this.addParameter('bias', zeros([this.outFeatures])) : null;
  }

  /** The operands of one forward call. */
  weights(): LinearWeights {
    this.checkAlive('weights');
    return { v: this.v, u: this.u, bias: this.bias, innerActivation: this.innerActivation };
  }

  /** x [..., inFeatures] → [..., outFeatures]. */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    this.checkAlive('forward');
    return structuredLinear(x, this.weights(), options);
  }

  /** Sizes as the kernels take them. */
  get dims(): LinearDims {
    return linearDims(this.structure, this.v?.shape ?? null, this.u.shape, this.innerActivation);
  }

  /** Rank and block counts in use. */
  get sizes(): Sizes {
    return DEFINITIONS[this.structure].sizes(this.dims);
  }

  /**
   * The exact dense matrix [outFeatures, inFeatures] of the factors, in new memory.
   * @throws {OptionError} with an activation between them.
   */
  merge(): Tensor {
    this.checkAlive('merge');
    checkMergeable(`${DEFINITIONS[this.structure].linear}.merge`, this.innerActivation);
    return this.product();
  }

  /** u·v [outFeatures, inFeatures], with or without an activation between them, in new memory. */
  product(): Tensor {
    this.checkAlive('product');
    return this.v === null ? clone(this.u) : mergeFactors(this.v, this.u);
  }

  /** Floating-point operations per token, forward: 2 per multiply-accumulate. */
  get flopsPerToken(): number {
    return 2 * this.dims.macs;
  }

  /** The sizes in use, their part of the dense parameters, and why a ratio chose them. */
  describe(): ChosenSizes {
    this.checkAlive('describe');
    const parameters = parametersOf({ v: this.v?.shape ?? null, u: this.u.shape });
    const ratio = parameters / (this.inFeatures * this.outFeatures);
    return { ...this.sizes, parameters, ratio, ...(this.#why && { why: this.#why }) };
  }
}
