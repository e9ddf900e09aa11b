/** Weights from checkpoints into models. */
import type { LoaderState } from '../data';
import { WeightMatrix } from '../decode/matrix';
import { readWeights } from '../decode/read_weights';
import { checkPath, DTypeError, FormatError } from '../errors';
import type { StoredDType, TensorData } from '../io';
import { type OpenCheckpoint, withCheckpoint } from '../io/checkpoint';
import type { Entry } from '../io/safetensors';
import {
  checkTransformerConfig,
  countParameters,
  Guidance,
  type GuidanceState,
  SelfGuided,
  type TransformerConfig,
  TransformerLM,
} from '../nn';
import { UNSET } from '../nn/init';
import { checkStateNames } from '../nn/state_names';
import { checkSameShape } from '../ops/check';
import { linearDims } from '../ops/linear_dims';
import { tidy } from '../scope';
import { DEFINITIONS } from '../structures';
import { numel, type Shape, type Tensor, tensor } from '../tensor';
import type { BestLoss } from './best';
import type { RecordedChange } from './changes';
import { checkState } from './checks';
import { mixing, planSteps, type TrainConfig } from './config';
import type { TokensBeside } from './paths';
import type { SkipState } from './skipping';

/** What distinguishes one file of tokens from another, and where it is found again. */
export interface DataMark {
  readonly tokens: number;
  readonly crc32: number;
  /** Older checkpoints have the absolute paths of the config only. */
  readonly beside?: TokensBeside;
}

/** `trainer.json`: what a trainer needs to continue, besides the weights and the optimizer's tensors. */
export interface TrainerState {
  readonly config: TrainConfig;
  readonly step: number;
  readonly optimizerSteps: number;
  readonly guidance: GuidanceState | null;
  readonly loader: LoaderState;
  /** Older releases did not write it. */
  readonly skipping?: SkipState;
  /** Null before the first evaluation; older releases did not write it. */
  readonly best?: BestLoss | null;
  /** What was changed when the run went on; older releases did not write it. */
  readonly changes?: readonly RecordedChange[];
  /** The training tokens; older releases did not write it. */
  readonly data?: DataMark;
}

/** A model with what its checkpoint says beside it. */
export interface LoadedModel {
  /** float32, for any dtype in the checkpoint. */
  readonly model: TransformerLM;
  /** The dtype of the matrices in the checkpoint: the best one for a decoder. */
  readonly dtype: StoredDType;
  /** Path of its tokenizer.json; undefined for bytes. */
  readonly tokenizerFile: string | undefined;
}

/**
 * A model from a checkpoint, in evaluation mode. A checkpoint from before the hand-over has its guides, with their
 * weight at its step. @throws {FileError | FormatError | OptionError}
 */
export function loadModel(path: string): LoadedModel {
  checkPath('loadModel: path', path);
  return withCheckpoint(path, (checkpoint) => ({
    model: readModel(path, checkpoint),
    dtype: checkpoint.dtype,
    tokenizerFile: checkpoint.tokenizerFile,
  }));
}

/** The same, of a checkpoint that is open. */
export function readModel(path: string, checkpoint: OpenCheckpoint): TransformerLM {
  const model = modelOf(path, checkpoint);
  try {
    readWeights(checkpoint, new Map([...model.namedParameters()].map(([name, p]) => [name, WeightMatrix.of(p)])));
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}

/** Whether a checkpoint is from before the hand-over. */
export const hasGuides = ({ weights }: OpenCheckpoint): boolean => [...weights.keys()].some(isGuide);

/**
 * The model of a checkpoint without its weights, in evaluation mode: names and shapes are those of the file, and the
 * large parameters have no memory yet.
 * @throws {FormatError | OptionError} @throws {StateDictError | ShapeError | DTypeError} for tensors that are not those of
 * the config.
 */
export function modelOf(path: string, checkpoint: OpenCheckpoint): TransformerLM {
  const { config, weights } = checkpoint;
  const stored = new Map([...weights].map(([name, { values }]) => [name, values]));
  try {
    const sized = withSizesOf(config as TransformerConfig, stored);
    const guidance = hasGuides(checkpoint) ? guidanceOf(path, checkpoint.trainer()) : undefined;
    const model = new TransformerLM(sized, { ...UNSET, guidance });
    try {
      checkEntries(model.namedParameters(), stored);
    } catch (error) {
      model.dispose();
      throw error;
    }
    return model.eval();
  } catch (error) {
    // What does not fit may be due to damage.
    checkpoint.verify();
    throw error;
  }
}

/** As `loadStateDict` checks tensors. @throws {StateDictError | ShapeError | DTypeError} */
function checkEntries(own: ReadonlyMap<string, Tensor>, stored: ReadonlyMap<string, Entry>): void {
  checkStateNames(own, stored);
  for (const [name, parameter] of own) {
    const entry = stored.get(name)!;
    if (entry.dtype === 'I32') throw new DTypeError(`loadStateDict: ${name}`, 'a tensor of real numbers', entry.dtype);
    checkSameShape(`loadStateDict: ${name}`, entry, parameter.shape);
  }
}

type Shaped = { readonly shape: Shape };

/**
 * A config with the sizes of the weights instead of a ratio: releases may choose different sizes for a ratio. @throws
 * {OptionError} naming the part of the config that makes no sense. @throws {FormatError} for a config of a much larger
 * model than that of the weights.
 */
export function withSizesOf(config: TransformerConfig, weights: ReadonlyMap<string, Shaped>): TransformerConfig {
  checkTransformerConfig(config);
  checkSizes(config, weights);
  const { ratio, ...ffn } = config.ffn ?? { structure: 'dense' };
  const block = config.nLayers - 1;
  const sizesOf = (name: 'fc1' | 'fc2') => {
    const [v, u] = ['v', 'u'].map((factor) => weights.get(`blocks.${block}.ffn.${name}.${factor}`)?.shape);
    return v && u && DEFINITIONS[ffn.structure].sizes(linearDims(name, v, u));
  };
  const [fc1, fc2] = [sizesOf('fc1'), sizesOf('fc2')];
  return ratio !== undefined && fc1 && fc2 ? { ...config, ffn: { ...ffn, fc1, fc2 } } : config;
}

/** A config must not make us allocate more than its file can fill. Loading then reports the tensors that do not fit. */
function checkSizes(config: TransformerConfig, weights: ReadonlyMap<string, Shaped>): void {
  const given = [...weights.values()].reduce((sum, { shape }) => sum + numel(shape), 0);
  const { nLayers, vocabSize, dModel, dFF = 0 } = config;
  const most = 2 * given + 1e6;
  const tooLarge =
    nLayers > Math.max(1, weights.size) ||
    Math.max(vocabSize * dModel, dFF) > most ||
    countParameters(config).total > most;
  if (tooLarge)
    throw new FormatError(
      'config.json',
      `a model of ${nLayers} layers of width ${dModel} and ${vocabSize} ids has more parameters than the ${given} in the ` +
        `${weights.size} tensors next to it`,
    );
}

/** The state of a checkpoint's guidance. */
function guidanceOf(path: string, state: unknown): Guidance {
  if (!isTrainerState(state) || !state.config?.guidance || !state.guidance)
    throw new FormatError(path, 'it has guides, but no trainer.json next to it that says how much they count');
  checkState(path, state);
  const guidance = new Guidance({ ...mixing(state.config.guidance), steps: planSteps(state.config).guided });
  guidance.restore(state.guidance);
  return guidance;
}

const isGuide = (name: string): boolean => name.endsWith('.guide');

/** Weights of a checkpoint with or without guides, into a model with or without guides. */
export function loadWeights(model: TransformerLM, weights: ReadonlyMap<string, TensorData>): void {
  const own = [...model.namedParameters().keys()];
  const guided = own.some(isGuide);
  const given = new Map([...weights].filter(([name]) => guided || !isGuide(name)));
  const startGuides = guided && ![...given.keys()].some(isGuide);
  tidy(() => {
    const state = toTensors(given);
    // The guides' places are filled so that the check of the names passes; their values are computed from the factors.
    if (startGuides) for (const name of own.filter(isGuide)) state.set(name, model.namedParameters().get(name)!);
    model.loadStateDict(state);
  });
  if (startGuides) for (const module of model.modules()) if (module instanceof SelfGuided) module.resetGuide();
}

export const toTensors = (values: ReadonlyMap<string, TensorData>): Map<string, Tensor> =>
  new Map([...values].map(([name, { shape, data }]) => [name, tensor(data, shape)]));

export function isTrainerState(value: unknown): value is TrainerState {
  return value !== null && typeof value === 'object' && 'config' in value && 'step' in value && 'loader' in value;
}
