/** The layers for `tf.sequential` and functional models. */
import { OptionError } from '../../errors';
import { checkStructure, type Structure } from '../../structures';
import type { TfOps } from '../ops';
import type { Tfjs } from '../tfjs';
import { type FeedForwardConfig, type FeedForwardConstructor, feedForwardClass } from './feed_forward';
import { type LinearLayerConfig, type LinearLayerConstructor, linearClasses } from './linear_layers';
import {
  type SelfGuidedConfig,
  type SelfGuidedConstructor,
  type SelfGuidedLayer,
  selfGuidedClass,
} from './self_guided';
import type { StructuredLayer } from './structured_layer';

/** Factories, as `tf.layers` has them. Their classes are registered with tfjs, so that its loaders find them. */
export class TfLayers {
  readonly #linear: Readonly<Record<Structure, LinearLayerConstructor>>;
  readonly #feedForward: FeedForwardConstructor;
  readonly #selfGuided: SelfGuidedConstructor;

  constructor(tf: Tfjs, ops: TfOps) {
    this.#linear = linearClasses(tf, ops);
    this.#feedForward = feedForwardClass(tf, ops);
    this.#selfGuided = selfGuidedClass(tf, (className, config) => this.#create(className, config));
  }

  /** tfjs's Dense with native kernels and a fused activation. */
  fusedDense(config: LinearLayerConfig): StructuredLayer {
    return this.linear('dense', config);
  }

  /** A dense layer of two factors. */
  lowRankDense(config: LinearLayerConfig): StructuredLayer {
    return this.linear('lowrank', config);
  }

  /** A block-diagonal factor, then a dense one. */
  blockDense(config: LinearLayerConfig): StructuredLayer {
    return this.linear('blockdense', config);
  }

  /** Two block-diagonal factors with a shuffle between them (Monarch). */
  blockShuffleDense(config: LinearLayerConfig): StructuredLayer {
    return this.linear('blockshuffle', config);
  }

  /** The layer of the named structure. */
  linear(structure: Structure, config: LinearLayerConfig): StructuredLayer {
    checkStructure('linear: structure', structure);
    return new this.#linear[structure](config);
  }

  /** fc2(act(fc1(x))) of one structure. */
  structuredFeedForward(config: FeedForwardConfig): StructuredLayer {
    return new this.#feedForward(config);
  }

  /** Wraps one of the layers above; see `guide` for the callback that anneals the guides away. */
  selfGuided(config: SelfGuidedConfig): SelfGuidedLayer {
    return new this.#selfGuided(config);
  }

  /** For tfjs's loader: a saved config has no types. */
  #create(className: string, config: object): StructuredLayer {
    const classes: readonly (LinearLayerConstructor | FeedForwardConstructor)[] = [
      ...Object.values(this.#linear),
      this.#feedForward,
    ];
    const found = classes.find((one) => 'className' in one && one.className === className);
    if (found === undefined) throw new OptionError('SelfGuided: layer', 'a structured layer', className);
    return Reflect.construct(found, [config]) as StructuredLayer;
  }
}
