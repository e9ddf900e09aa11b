/** From the options of `train` to a run: data prepared, config complete. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  type Baselines,
  ngramBaselines,
  type RowOrder,
  readDocuments,
  splitDocuments,
  TokenFile,
  writeTokens,
} from '../data';
import type { Device } from '../device';
import { loadCheckpoint } from '../io';
import type { TransformerConfig } from '../nn';
import type { ScheduleName } from '../optim';
import type { Tokenizer } from '../text';
import {
  type OptimizerConfig,
  type RunChanges,
  type RunSource,
  runFlops,
  stepsForFlops,
  stepsForTokens,
  type TrainConfig,
} from '../train';
import { changedConfig } from '../train/changes';
import { checkState } from '../train/checks';
import { checkTrainConfig } from '../train/config';
import { isTrainerState } from '../train/load_model';
import { foundConfig } from '../train/paths';
import { UsageError } from './failure';
import { guidanceConfig, initModel, type ModelOptions, presetModel } from './model_options';
import { optionOf } from './option_names';
import { type RunFolder, TOKEN_FILES } from './run_folder';
import { tokenizerFrom, tokenizerOf } from './tokenizer_option';

type Say = (line: string) => void;

/** As commander gives them. */
export interface TrainOptions extends ModelOptions {
  readonly data?: string;
  readonly tokens?: string;
  readonly validationTokens?: string;
  /** Default: bpe:2048, or that of --init. */
  readonly tokenizer?: string;
  readonly order: RowOrder;
  readonly steps: number;
  readonly targetTokens?: number;
  readonly targetFlops?: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly lr: number;
  readonly schedule: ScheduleName;
  readonly minLr?: number;
  readonly decayPart?: number;
  readonly warmup: number;
  readonly optimizer: OptimizerConfig['name'];
  readonly weightDecay: number;
  readonly decay: OptimizerConfig['decay'];
  readonly maxGradNorm: number;
  readonly skipNonFinite?: number;
  readonly skipZScore?: number;
  readonly seed: number;
  readonly threads?: number;
  readonly device: Device;
  readonly precision: 'float32' | 'bfloat16';
  readonly recordSteps?: boolean;
  readonly out?: string;
  readonly force?: boolean;
  readonly resume?: string;
  readonly evalEvery?: number;
  readonly saveEvery?: number;
  readonly keepBest?: boolean;
  readonly patience?: number;
  readonly report?: string;
  readonly sample?: string;
  readonly json?: boolean;
}

/** Everything that a run and its summary need. */
export interface TrainPlan {
  readonly source: RunSource;
  readonly config: TrainConfig;
  /** Null for bare tokens, which have no text to show. */
  readonly tokenizer: Tokenizer | null;
  /** Null without validation tokens. */
  readonly baselines: Baselines | null;
}

interface Data {
  readonly data: TrainConfig['data'];
  readonly tokenizer: Tokenizer | null;
  readonly vocabSize: number;
}

/**
 * @param folder where the files go; null with --resume.
 * @param changes with --resume.
 * @throws {UsageError} for options that do not go together, and what reading the data throws.
 */
export function planTraining(
  options: TrainOptions,
  folder: RunFolder | null,
  changes: RunChanges,
  say: Say,
): TrainPlan {
  if (folder === null) return planResume(options.resume!, changes, say);
  if ((options.data === undefined) === (options.tokens === undefined))
    throw new UsageError('give either --data FILE_OR_FOLDER, or --tokens FILE, or --resume FOLDER');
  const { data: text, validationTokens, vocabSize: ids } = options;
  for (const [name, value] of Object.entries({ '--validation-tokens': validationTokens, '--vocab-size': ids }))
    if (text !== undefined && value !== undefined)
      throw new UsageError(`${name} ${value}: it goes with --tokens, not with --data`);
  const given = options.init === undefined ? null : loadCheckpoint(options.init);
  // Before the data is read: what contradicts itself is said at once.
  const { model: planned, convertInit } = given
    ? initModel(options, given.config as TransformerConfig)
    : { model: presetModel(options), convertInit: undefined };
  const guidance = guidanceConfig(options, planned);
  if (convertInit) say(`init: the feedforward layers become ${planned.ffn?.structure}, each the nearest to its matrix`);
  const settings: Omit<TrainConfig, 'model' | 'data' | 'tokenizer'> = {
    steps: options.steps,
    batchSize: options.batchSize,
    gradientAccumulation: options.accumulate,
    seqLen: given ? options.seqLen : undefined,
    learningRate: options.lr,
    schedule: options.schedule,
    minLearningRate: options.minLr,
    decayPart: options.decayPart,
    warmup: options.warmup,
    optimizer: { name: options.optimizer, decay: options.decay },
    weightDecay: options.weightDecay,
    maxGradNorm: options.maxGradNorm,
    skip:
      options.skipNonFinite === undefined && options.skipZScore === undefined
        ? undefined
        : { nonFinite: options.skipNonFinite, zScore: options.skipZScore },
    guidance,
    seed: options.seed,
    device: options.device,
    precision: options.precision,
    recordSteps: options.recordSteps,
    init: options.init,
    convertInit,
    checkpoint: folder.checkpoint,
    saveEvery: options.saveEvery,
    evalEvery: options.evalEvery,
    keepBest: options.keepBest,
    patience: options.patience,
  };
  // Text always has a part that is held out.
  const validation = text === undefined ? validationTokens : '';
  checkTrainConfig({ ...settings, model: planned, data: { train: '', validation, dtype: 'uint16' } });
  const { data, tokenizer, vocabSize } =
    options.tokens !== undefined
      ? bareTokens(options, options.tokens, given ? planned : undefined)
      : prepareText(options, folder.tokens, given?.tokenizerFile, say);
  const model = given ? planned : { ...planned, vocabSize };
  if (tokenizer !== null && tokenizer.vocabSize > model.vocabSize)
    throw new UsageError(`the tokenizer has ${tokenizer.vocabSize} ids, the model of --init only ${model.vocabSize}`);
  const config = withinBudget(options, { ...settings, model, data, tokenizer: tokenizer?.name }, say);
  return { source: { config }, config, tokenizer, baselines: baselinesOf(config) };
}

/** The config with the steps that the budget allows, if there is one. */
function withinBudget({ targetTokens, targetFlops }: TrainOptions, config: TrainConfig, say: Say): TrainConfig {
  for (const [name, value] of Object.entries({ '--target-tokens': targetTokens, '--target-flops': targetFlops }))
    if (value !== undefined && !(value > 0)) throw new UsageError(`${name} ${value}: it must be above 0`);
  if (targetTokens === undefined && targetFlops === undefined) return config;
  const steps = targetTokens === undefined ? stepsForFlops(config, targetFlops!) : stepsForTokens(config, targetTokens);
  say(`budget: ${steps} steps of ${runFlops({ ...config, steps }).total.toPrecision(3)} operations in all`);
  return { ...config, steps };
}

function planResume(folder: string, changes: RunChanges, say: Say): TrainPlan {
  const { trainer, tokenizerFile } = loadCheckpoint(folder);
  if (!isTrainerState(trainer)) throw new UsageError(`${folder} holds only a model; start from it with --init`);
  checkState(folder, trainer);
  const { config, change } = changedConfig(foundConfig(trainer, folder), changes, trainer.step);
  for (const [name, value] of Object.entries(change?.to ?? {}))
    say(`changed: ${optionOf(name)} ${value}, was ${change!.from[name] ?? 'the default'}`);
  const hasText = config.tokenizer !== undefined;
  return {
    source: { resume: folder, changes },
    config,
    tokenizer: hasText ? tokenizerOf(tokenizerFile) : null,
    baselines: baselinesOf(config),
  };
}

/** @param model the model of --init. */
function bareTokens(options: TrainOptions, path: string, model: TransformerConfig | undefined): Data {
  const { vocabSize = model?.vocabSize } = options;
  if (vocabSize === undefined) throw new UsageError('--tokens needs --vocab-size, or --init with a model');
  return {
    data: { train: resolve(path), validation: options.validationTokens, dtype: 'uint16', order: options.order },
    tokenizer: null,
    vocabSize,
  };
}

function prepareText(options: TrainOptions, folder: string, initTokenizer: string | undefined, say: Say): Data {
  const { tokenizer: kind, init } = options;
  if (init !== undefined && kind !== undefined && !(kind === 'byte' && initTokenizer === undefined))
    throw new UsageError(`--tokenizer ${kind}: the model of --init has a tokenizer of its own`);
  const documents = readDocuments(options.data!);
  const { train, validation } = splitDocuments(documents);
  const tokenizer =
    init !== undefined
      ? tokenizerOf(initTokenizer)
      : tokenizerFrom(kind ?? 'bpe:2048', train, join(folder, TOKEN_FILES.tokenizer));
  const trained = writeTokens(join(folder, TOKEN_FILES.train), train, tokenizer);
  const held = writeTokens(join(folder, TOKEN_FILES.validation), validation, tokenizer);
  const count = (n: number) => n.toLocaleString('en');
  say(
    `data: ${documents.length} documents, ${count(trained.bytes + held.bytes)} bytes; ` +
      `${count(trained.tokens)} tokens to train on, ${count(held.tokens)} held out; vocabulary ${count(tokenizer.vocabSize)}`,
  );
  return {
    data: {
      train: trained.path,
      validation: held.path,
      dtype: trained.dtype,
      validationBytes: held.bytes,
      order: options.order,
    },
    tokenizer,
    vocabSize: tokenizer.vocabSize,
  };
}

function baselinesOf({ data, model }: TrainConfig): Baselines | null {
  if (data.validation === undefined || !existsSync(data.train) || !existsSync(data.validation)) return null;
  using train = new TokenFile(data.train, data.dtype);
  using validation = new TokenFile(data.validation, data.dtype);
  return ngramBaselines(train, validation, model.vocabSize);
}
