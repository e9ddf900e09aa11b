/** What the layers of tfjs models share. The classes are made per `tf`, whose Layer they extend. */
import { OptionError } from '../../errors';
import type { Activation } from '../../ops/activation';
import { checkKeys, type OptionNames } from '../../options';
import type { ComputeDType } from '../compute_dtype';
import type { Tensor, Tfjs } from '../tfjs';
import type { FactorConfig, FactorWeights } from './factor_weights';
import type { RegularizerConfig } from './regularizers';

export type TfLayerBase = InstanceType<Tfjs['layers']['Layer']>;
export type LayerArgs = NonNullable<ConstructorParameters<Tfjs['layers']['Layer']>[0]>;
export type TfShape = (number | null)[];

/** Names of tfjs's activations. */
export type TfActivation = Parameters<Tfjs['layers']['activation']>[0]['activation'];

/** Config of every structured layer: our own, and tfjs's (`inputShape`, `name`, `trainable`, ...). */
export interface StructuredConfig extends LayerArgs, FactorConfig, RegularizerConfig {
  /** Fused into the kernel. */
  readonly activation?: Activation;
  /**
   * What the kernel computes in, forward and backward. Variables, inputs, outputs and gradients stay float32; bfloat16 rounds
   * them for the kernel. Default: float32.
   */
  readonly computeDtype?: ComputeDType;
}

/** A layer whose linear parts can have guides. */
export interface StructuredLayer extends TfLayerBase {
  /** Once built. */
  readonly linears: readonly FactorWeights[];
  /** What it was made with. */
  readonly config: StructuredConfig;
  /** Shape of the input that it was built for. */
  readonly builtShape: (number | null)[];
  /** An activation of tfjs's own after the kernel. */
  readonly tfjsActivation: TfActivation | null;
  /** The layer on x; `alpha` is the weight of the guides, null to leave them out. */
  run(x: Tensor, alpha: number | null): Tensor;
}

/** By its features: several copies of this module may meet in one process. */
export const isStructuredLayer = (layer: TfLayerBase): layer is StructuredLayer =>
  'linears' in layer && 'run' in layer && typeof layer.run === 'function';

/** The one tensor of a layer's input. @throws {OptionError} when there are several. */
export function single(where: string, inputs: Tensor | Tensor[]): Tensor {
  if (!Array.isArray(inputs)) return inputs;
  if (inputs.length !== 1 || inputs[0] === undefined)
    throw new OptionError(where, 'one input', `${inputs.length} inputs`);
  return inputs[0];
}

/** The input as float32: like tfjs's Dense, the layers take int32 and bool, too. @throws {OptionError} when there are several. */
export function floatInput(tf: Tfjs, where: string, inputs: Tensor | Tensor[]): Tensor {
  const x = single(where, inputs);
  return x.dtype === 'int32' || x.dtype === 'bool' ? tf.cast(x, 'float32') : x;
}

const isShapes = (shape: TfShape | TfShape[]): shape is TfShape[] => Array.isArray(shape[0]);

/** The one shape of a layer's input. @throws {OptionError} when there are several. */
export function singleShape(shape: TfShape | TfShape[]): TfShape {
  if (!isShapes(shape)) return shape;
  if (shape.length !== 1 || shape[0] === undefined)
    throw new OptionError('input', 'one shape', `${shape.length} shapes`);
  return shape[0];
}

/** The last size of an input shape. @throws {OptionError} when it is unknown. */
export function featuresOf(where: string, shape: TfShape): number {
  const features = shape[shape.length - 1];
  if (typeof features !== 'number') throw new OptionError(`${where}: inputShape`, 'a known last dimension', features);
  return features;
}

/** Only what was given: tfjs cannot save undefined. */
export function given<T extends object>(config: T, names: readonly (keyof T & string)[]): { [name: string]: never } {
  return Object.fromEntries(names.filter((name) => config[name] !== undefined).map((name) => [name, config[name]])) as {
    [name: string]: never;
  };
}

/** Of every layer of tfjs; its loader adds the last one. */
export const LAYER_ARGS: OptionNames<LayerArgs & { customObjects?: unknown }> = {
  inputShape: 0,
  batchInputShape: 0,
  batchSize: 0,
  dtype: 0,
  inputDType: 0,
  name: 0,
  trainable: 0,
  weights: 0,
  customObjects: 0,
};

const OWN = {
  rank: 0,
  nblocks: 0,
  ratio: 0,
  init: 0,
  seed: 0,
  useBias: 0,
  activation: 0,
  innerActivation: 0,
  computeDtype: 0,
  kernelRegularizer: 0,
  biasRegularizer: 0,
};

export const FACTOR_KEYS = Object.keys(OWN) as (keyof typeof OWN)[];

export const STRUCTURED_OPTIONS: OptionNames<StructuredConfig> = { ...LAYER_ARGS, ...OWN };

/** The config, before tfjs's own layer looks at it. @throws {OptionError} */
export function checkedConfig<T extends object>(name: string, config: T, known: OptionNames<NoInfer<T>>): T {
  checkKeys(name, config, known);
  return config;
}
