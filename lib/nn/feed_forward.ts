import { type Activation, feedForward, type InnerActivation, type LinearOptions } from '../ops';
import { checkKeys } from '../options';
import { Generator } from '../random';
import type { Sizes, Structure } from '../structures';
import type { Tensor } from '../tensor';
import type { Guidance } from './guidance';
import type { Init } from './init';
import { createLinear } from './linear';
import type { LinearLayer } from './linear_layer';
import { Module } from './module';
import { SelfGuided } from './self_guided';
import { type FeedForwardConfig, FFN_OPTIONS, resolveFeedForward } from './transformer_config';

/** How the layers of a feedforward network are built. */
export interface FfnStructure extends Sizes {
  /** Default: dense. */
  readonly structure: Structure;
  /** Instead of rank and nblocks: the part of the dense parameters to keep. */
  readonly ratio?: number;
  /** Sizes of one layer, instead of those for both. */
  readonly fc1?: Sizes;
  /** Sizes of the second layer alone. */
  readonly fc2?: Sizes;
  /** Between the factors of each layer. Default: none. */
  readonly innerActivation?: InnerActivation;
  /** How the weights start. Default: what the paper uses for the structure. */
  readonly init?: Init;
}

/** dFF is the width after the activation; with swiglu fc1 makes 2·dFF features. */
export interface FeedForwardOptions extends FfnStructure, FeedForwardConfig {
  /** Default: true. */
  readonly bias?: boolean;
  /** Wraps both layers in SelfGuided. */
  readonly guidance?: Guidance;
  /** Source of the initial values. Default: a generator of seed 0. */
  readonly generator?: Generator;
}

const FEED_FORWARD_OPTIONS = { ...FFN_OPTIONS, dModel: 0, dFF: 0, activation: 0, bias: 0, guidance: 0, generator: 0 };

/** fc2(act(fc1(x))) in one kernel call. Parameters: those of the layers, below `fc1` and `fc2`. */
export class FeedForward extends Module {
  /** dModel → dFF, or 2·dFF for swiglu. */
  readonly fc1: LinearLayer | SelfGuided;
  /** dFF → dModel. */
  readonly fc2: LinearLayer | SelfGuided;
  /** Applied between the layers. */
  readonly activation: Activation;

  constructor(options: FeedForwardOptions) {
    super();
    checkKeys('FeedForward', options, FEED_FORWARD_OPTIONS);
    const { dModel, dFF, activation } = resolveFeedForward(options);
    const { bias, structure, rank, nblocks, ratio, init, innerActivation, generator = new Generator(0) } = options;
    const { fc1 = { rank, nblocks, ratio }, fc2 = { rank, nblocks, ratio } } = options;
    this.activation = activation;
    const build = (inFeatures: number, outFeatures: number, sizes: Sizes) => {
      const own = structure === 'dense' ? {} : { ...sizes, init };
      const layer = createLinear(structure, { inFeatures, outFeatures, ...own, innerActivation, bias, generator });
      return options.guidance && structure !== 'dense' ? new SelfGuided(layer, options.guidance) : layer;
    };
    this.fc1 = this.addModule('fc1', build(dModel, activation === 'swiglu' ? 2 * dFF : dFF, fc1));
    this.fc2 = this.addModule('fc2', build(dFF, dModel, fc2));
  }

  /** The layers without their guides. */
  get layers(): readonly [LinearLayer, LinearLayer] {
    const plain = (layer: LinearLayer | SelfGuided) => (layer instanceof SelfGuided ? layer.layer : layer);
    return [plain(this.fc1), plain(this.fc2)];
  }

  /** x [..., dModel] → the same shape, plus the residual of that shape. */
  forward(x: Tensor, options: Pick<LinearOptions, 'residual'> = {}): Tensor {
    this.checkAlive('forward');
    return feedForward(x, this.fc1.weights(), this.fc2.weights(), this.activation, options);
  }

  /** Floating-point operations per token, forward, without guides. */
  get flopsPerToken(): number {
    const [fc1, fc2] = this.layers;
    return fc1.flopsPerToken + fc2.flopsPerToken;
  }
}
