/** Replaces the dense layers of a trained LayersModel by structured ones that start as their best approximation. */
import { checkChoice, checkNames, FormatError, OptionError } from '../errors';
import { transposed } from '../matrix';
import { nearestFactors } from '../nn';
import type { Activation } from '../ops/activation';
import { checkKeys } from '../options';
import {
  checkStructure,
  chooseLayer,
  DEFINITIONS,
  parametersOf,
  type SizeOptions,
  type Structure,
} from '../structures';
import { numel } from '../tensor';
import { type ComputeDType, checkComputeDType } from './compute_dtype';
import { isSelfGuided, layersOf } from './layers/self_guided';
import { isStructuredLayer, type StructuredLayer, type TfLayerBase } from './layers/structured_layer';
import { floats } from './memory';
import { rebuild } from './model_json';
import { checkModel, type LayersModel, type Tensor, type Tfjs } from './tfjs';

/** Options of `structureModel`. */
export interface StructureOptions extends Pick<SizeOptions, 'rank' | 'nblocks' | 'ratio'> {
  /** What dense layers become. */
  readonly structure: Exclude<Structure, 'dense'>;
  /** Names of the layers, or which to take. Default: every Dense layer that becomes smaller. */
  readonly layers?: readonly string[] | ((layer: TfLayerBase) => boolean);
  /**
   * Whether to wrap the layers in selfGuided, and what their guides start as: `original`, the trained matrix, so that
   * with alpha at 1 the model still is what it was; or `merged`, the matrix of the factors. Default: no guides.
   */
  readonly guides?: 'original' | 'merged';
  /** What the new layers compute in. Default: float32. */
  readonly computeDtype?: ComputeDType;
}

/** What became of a layer. */
export interface LayerReport {
  /** Its name. */
  readonly layer: string;
  /** ‖W − S‖ / ‖W‖, Frobenius. */
  readonly error: number;
  /** Weights of the dense kernel and of the factors. */
  readonly parametersBefore: number;
  /** Weights now, without the bias. */
  readonly parametersAfter: number;
}

/** What became of one layer of a LayersModel. */
export interface ModelLayerReport extends LayerReport {
  /** The regularizer of the dense layer that the structured one has, too: `biasRegularizer`. */
  readonly kept: readonly string[];
  /** Regularizers and constraints of the dense layer that no longer act: those of a matrix that is there no more. */
  readonly dropped: readonly string[];
}

/** A model with structured layers. */
export interface StructuredModel {
  /** The new model. */
  readonly model: LayersModel;
  /** What became of each layer. */
  readonly report: readonly ModelLayerReport[];
}

/** tfjs's names for the activations that the kernels have. tfjs's 'gelu' is the one with erf, which they do not have. */
const FUSED: Readonly<Record<string, Activation>> = { linear: 'none', relu: 'relu', swish: 'silu', gelu_new: 'gelu' };

interface Target {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** [in, out], as tfjs has it. */
  readonly kernel: Tensor;
  readonly bias: Tensor | null;
  readonly activation: string;
  readonly useBias: boolean;
  /** As it is saved. */
  readonly biasRegularizer: { readonly className: string; readonly config: object } | null;
  readonly kept: readonly string[];
  readonly dropped: readonly string[];
}

const KEPT = ['biasRegularizer'] as const;
const DROPPED = ['kernelRegularizer', 'activityRegularizer', 'kernelConstraint', 'biasConstraint'] as const;

function targetOf(layer: TfLayerBase): Target | null {
  if (layer.getClassName() !== 'Dense') return null;
  const [kernel, bias = null] = layer.getWeights();
  const config = layer.getConfig();
  const { activation, useBias } = config;
  const present = (names: readonly string[]) => names.filter((name) => (config[name] ?? null) !== null);
  if (kernel === undefined) return null;
  const [inFeatures = 0, outFeatures = 0] = kernel.shape;
  const common = { name: layer.name, inFeatures, outFeatures, kernel, bias };
  return {
    ...common,
    activation: typeof activation === 'string' ? activation : 'linear',
    useBias: useBias === true,
    biasRegularizer: (config.biasRegularizer ?? null) as Target['biasRegularizer'],
    kept: present(KEPT),
    dropped: present(DROPPED),
  };
}

/** Which of a model's layers to replace. @throws {OptionError} for a name that is no Dense layer's. */
function chooseTargets(model: LayersModel, { layers, ...options }: StructureOptions): Target[] {
  const all = [...layersOf(model)];
  const targets = all.flatMap((layer) => targetOf(layer) ?? []);
  if (typeof layers === 'function') {
    const wanted = new Set(all.filter(layers).map(({ name }) => name));
    return targets.filter(({ name }) => wanted.has(name));
  }
  if (layers === undefined) return targets.filter((target) => becomesSmaller(target, options));
  return layers.map((name) => {
    const target = targets.find((one) => one.name === name);
    if (target === undefined)
      throw new OptionError('structureModel: layers', `Dense layers (${targets.map((t) => t.name).join(', ')})`, name);
    return target;
  });
}

/** Whether a matrix can have that structure and becomes smaller by it. */
export function becomesSmaller(
  { inFeatures, outFeatures }: Pick<Target, 'inFeatures' | 'outFeatures'>,
  { structure, rank, nblocks, ratio }: Pick<SizeOptions, 'rank' | 'nblocks' | 'ratio'> & { structure: Structure },
): boolean {
  const options = { inFeatures, outFeatures, rank, nblocks, ratio };
  try {
    return parametersOf(chooseLayer('structureModel', structure, options)) < inFeatures * outFeatures;
  } catch (error) {
    if (error instanceof OptionError) return false;
    throw error;
  }
}

/** The replacement's class and config, in the snake_case of a model's JSON. */
function replacementOf(target: Target, options: StructureOptions) {
  const sizes = Object.entries({ rank: options.rank, nblocks: options.nblocks, ratio: options.ratio });
  const fused = FUSED[target.activation];
  const config = {
    units: target.outFeatures,
    ...Object.fromEntries(sizes.filter(([, value]) => value !== undefined)),
    // Drawn and overwritten: the cheapest will do.
    init: 'normal',
    use_bias: target.useBias,
    ...(options.computeDtype && { compute_dtype: options.computeDtype }),
    ...(target.biasRegularizer && {
      bias_regularizer: { class_name: target.biasRegularizer.className, config: target.biasRegularizer.config },
    }),
    ...(fused === undefined ? { tfjs_activation: target.activation } : { activation: fused }),
  };
  const className = DEFINITIONS[options.structure].tfjsLayer;
  if (options.guides === undefined) return { className, config };
  return {
    className: 'SelfGuided',
    config: { layer: { class_name: className, config: { ...config, name: `${target.name}_factors` } } },
  };
}

const factorsOf = (layer: TfLayerBase): StructuredLayer | null => {
  if (isSelfGuided(layer)) return layer.layer;
  return isStructuredLayer(layer) ? layer : null;
};

/** Copies all weights of layers that the replacement did not touch. */
export function copyWeights(from: LayersModel, to: LayersModel, except: ReadonlySet<string>): void {
  const sources = new Map([...layersOf(from)].map((layer) => [layer.name, layer]));
  for (const layer of layersOf(to)) {
    const source = sources.get(layer.name);
    if (source && !except.has(layer.name)) layer.setWeights(source.getWeights());
  }
}

/**
 * A new model, not compiled, in which the chosen layers are structured, also those inside models and TimeDistributed layers.
 * The given one is left as it is.
 * @throws {OptionError} for layers that are not Dense, and for sizes that a named layer does not allow.
 */
export async function structureModel(
  tf: Tfjs,
  model: LayersModel,
  options: StructureOptions,
): Promise<StructuredModel> {
  checkKeys('structureModel', options, {
    structure: 0,
    rank: 0,
    nblocks: 0,
    ratio: 0,
    layers: 0,
    guides: 0,
    computeDtype: 0,
  });
  checkModel('structureModel', model);
  checkStructure('structureModel: structure', options.structure);
  const { layers, guides } = options;
  if (layers !== undefined && typeof layers !== 'function') checkNames('structureModel: layers', layers);
  if (guides !== undefined) checkChoice('structureModel: guides', guides, ['original', 'merged']);
  if (options.computeDtype !== undefined) checkComputeDType('structureModel: computeDtype', options.computeDtype);
  const targets = chooseTargets(model, options);
  const byName = new Map(targets.map((target) => [target.name, target]));
  const replacements = new Map(targets.map((target) => [target.name, replacementOf(target, options)]));
  const structured = await rebuild('structureModel', tf, model, replacements);
  copyWeights(model, structured, new Set(byName.keys()));
  const report: ModelLayerReport[] = [];
  for (const layer of layersOf(structured)) {
    const target = byName.get(layer.name);
    const [linear] = factorsOf(layer)?.linears ?? [];
    if (target === undefined || linear === undefined) continue;
    const { inFeatures, outFeatures } = target;
    const weight = transposed(floats(target.kernel.dataSync()), inFeatures, outFeatures);
    const { v, u } = linear.shapes;
    const factors = nearestFactors(weight, v!, u);
    linear.assign({ ...factors, bias: target.bias });
    if (options.guides === 'original') linear.assignGuide(weight);
    else if (isSelfGuided(layer)) layer.resetGuides();
    report.push({
      layer: layer.name,
      error: factors.error,
      parametersBefore: numel([inFeatures, outFeatures]),
      parametersAfter: linear.parameters,
      kept: target.kept,
      dropped: target.dropped,
    });
  }
  if (report.length < targets.length)
    throw new FormatError('model', 'a saved config that lacks one of its Dense layers');
  return { model: structured, report };
}
