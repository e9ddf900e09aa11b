/** Self-guided training in tfjs models: a layer helped at first by dense matrices that are annealed away. */
import { checkBoolean, checkNumber, OptionError } from '../../errors';
import { checkObject } from '../../functional/call';
import type { Guidance } from '../../nn';
import type { LayersModel, Tensor, Tfjs } from '../tfjs';
import type { LayerVariable } from './factor_weights';
import {
  checkedConfig,
  floatInput,
  isStructuredLayer,
  LAYER_ARGS,
  type LayerArgs,
  type StructuredLayer,
  type TfLayerBase,
  type TfShape,
} from './structured_layer';

interface SavedLayer {
  readonly className: string;
  readonly config: object;
}

/** Config of a SelfGuided layer. */
export interface SelfGuidedConfig extends LayerArgs {
  /** A layer of `layers`, not built yet; tfjs's loader passes its class and config. */
  readonly layer: TfLayerBase | SavedLayer;
  /** Weight of the guides while no callback sets it. Default: 1, or 0 once released. */
  readonly alpha?: number;
  /** Whether the guides are gone. Default: false. */
  readonly released?: boolean;
}

/** A layer with a dense guide beside its factors. */
export interface SelfGuidedLayer extends TfLayerBase {
  /** The structured layer. */
  readonly layer: StructuredLayer;
  /** Whether the guide is gone. */
  readonly released: boolean;
  /** Weight of the guides in evaluation. */
  readonly alpha: number;
  /** The schedule of a training run, which then sets alpha. */
  guidance: Guidance | null;
  /** Makes the guides the products of the factors again, after the factors were set. */
  resetGuides(): void;
  /** Disposes the guides; returns the names of their variables. */
  release(): string[];
}

export type SelfGuidedConstructor = new (config: SelfGuidedConfig) => SelfGuidedLayer;

export const isSelfGuided = (layer: TfLayerBase): layer is SelfGuidedLayer =>
  'resetGuides' in layer && 'release' in layer && 'guidance' in layer;

/** Weights: the layer's, and a guide [out, in] for each of its linear parts, which starts as the product of its factors. */
export function selfGuidedClass(
  tf: Tfjs,
  create: (className: string, config: object) => StructuredLayer,
): SelfGuidedConstructor {
  const name = 'SelfGuided';
  class SelfGuided extends tf.layers.Layer {
    static readonly className = name;
    readonly layer: StructuredLayer;
    guidance: Guidance | null = null;
    released: boolean;
    readonly #alpha: number;

    constructor(config: SelfGuidedConfig) {
      super(checkedConfig(name, config, { ...LAYER_ARGS, layer: 0, alpha: 0, released: 0 }));
      const { layer, alpha = 1, released = false } = config;
      checkObject(`${name}: layer`, layer);
      checkNumber(`${name}: alpha`, alpha, 0, 1);
      checkBoolean(`${name}: released`, released);
      const inner = 'className' in layer ? create(layer.className, layer.config) : layer;
      if (!isStructuredLayer(inner)) throw new OptionError(`${name}: layer`, 'a structured layer', layer);
      this.layer = inner;
      this.released = released;
      this.#alpha = alpha;
      this.supportsMasking = true;
    }

    get alpha(): number {
      return this.guidance?.alpha ?? this.#alpha;
    }

    override build(shape: TfShape | TfShape[]): void {
      this.layer.build(shape);
      if (!this.released)
        for (const linear of this.layer.linears)
          linear.guide = this.addWeight(
            `${linear.prefix}guide`,
            [linear.outFeatures, linear.inFeatures],
            'float32',
            tf.initializers.zeros(),
          );
      this.resetGuides();
      this.built = true;
    }

    resetGuides(): void {
      for (const linear of this.layer.linears) linear.assignGuide(linear.product());
    }

    release(): string[] {
      const guides = this.layer.linears.flatMap(({ guide }) => guide ?? []);
      for (const linear of this.layer.linears) linear.guide = null;
      this._trainableWeights = this._trainableWeights.filter((weight) => !guides.includes(weight));
      for (const guide of guides) guide.dispose();
      this.released = true;
      this.guidance = null;
      return guides.map((guide) => guide.name);
    }

    override get trainableWeights(): LayerVariable[] {
      return this.trainable ? [...this.layer.trainableWeights, ...super.trainableWeights] : [];
    }

    override get nonTrainableWeights(): LayerVariable[] {
      return [...this.layer.nonTrainableWeights, ...super.nonTrainableWeights];
    }

    // A copy: tfjs adds to what it gets here, and only the layer has any.
    override get losses(): TfLayerBase['losses'] {
      return [...(this.layer?.losses ?? [])];
    }

    override get trainable(): boolean {
      return super.trainable;
    }

    // tfjs sets this from its own constructor, before there is a layer.
    override set trainable(value: boolean) {
      super.trainable = value;
      if (this.layer) this.layer.trainable = value;
    }

    override computeOutputShape(shape: TfShape | TfShape[]): TfShape | TfShape[] {
      return this.layer.computeOutputShape(shape);
    }

    override call(inputs: Tensor | Tensor[], kwargs: { training?: boolean }): Tensor {
      return tf.tidy(() => {
        const training = kwargs.training ?? false;
        const alpha = this.guidance?.scales(training).guideScale ?? this.alpha;
        // A step that draws no guide still needs a gradient by it: tfjs's optimizers count on the same variables each time.
        return this.layer.run(floatInput(tf, name, inputs), this.released || (alpha === 0 && !training) ? null : alpha);
      });
    }

    override getConfig() {
      const layer = { className: this.layer.getClassName(), config: this.layer.getConfig() };
      return { ...super.getConfig(), layer, alpha: this.alpha, released: this.released };
    }
  }
  tf.serialization.registerClass(SelfGuided);
  return SelfGuided;
}

export const TIME_DISTRIBUTED = 'TimeDistributed';

/** tfjs's wrapper that applies a layer to every step of a sequence. The others wrap recurrent layers. */
interface TimeDistributed extends TfLayerBase {
  readonly layer: TfLayerBase;
}

const isTimeDistributed = (layer: TfLayerBase): layer is TimeDistributed =>
  layer.getClassName() === TIME_DISTRIBUTED && 'layer' in layer;

function* layersIn(layer: TfLayerBase): Generator<TfLayerBase> {
  if ('layers' in layer && Array.isArray(layer.layers)) yield* layersOf(layer as LayersModel);
  else if (isTimeDistributed(layer)) yield* layersIn(layer.layer);
  else yield layer;
}

/** Every layer of a model, those of models and of TimeDistributed layers inside it, too. */
export function* layersOf(model: LayersModel): Generator<TfLayerBase> {
  for (const layer of model.layers) yield* layersIn(layer);
}
