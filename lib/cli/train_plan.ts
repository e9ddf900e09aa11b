/** From the options of `train` to a run: data prepared, config complete. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  type Baselines,
  ngramBaselines,
  readDocuments,
  splitDocuments,
  TokenFile,
  type TokenizedText,
  writeTokens,
} from '../data';
import type { Device } from '../device';
import { loadCheckpoint } from '../io';
import {
  type BlockCounts,
  type FfnStructure,
  PRESET_NAMES,
  type PresetName,
  presetConfig,
  type Structure,
  type TransformerConfig,
} from '../nn';
import type { Activation, InnerActivation } from '../ops';
import type { Tokenizer } from '../text';
import type { GuidanceConfig, OptimizerConfig, RunSource, TrainConfig } from '../train';
import { UsageError } from './failure';
import { tokenizerFrom, tokenizerOf } from './tokenizer_option';

/** As commander gives them. */
export interface TrainOptions {
  readonly data?: string;
  readonly tokens?: string;
  readonly validationTokens?: string;
  readonly tokenizer: string;
  readonly vocabSize?: number;
  readonly order: 'random' | 'sequential';
  readonly preset: string;
  readonly structure: Structure;
  readonly ratio?: number;
  readonly rank?: number;
  readonly nblocks?: BlockCounts;
  readonly activation?: Activation;
  readonly innerActivation?: InnerActivation;
  readonly dModel?: number;
  readonly layers?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headSize?: number;
  readonly dFf?: number;
  readonly norm?: 'layer' | 'rms';
  readonly normEps?: number;
  /** False with --no-bias. */
  readonly bias: boolean;
  readonly ropeBase?: number;
  readonly untied?: boolean;
  readonly seqLen?: number;
  readonly allStructured?: boolean;
  readonly init?: string;
  readonly steps: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly lr: number;
  readonly schedule: 'cosine' | 'linear' | 'constant';
  readonly warmup: number;
  readonly optimizer: OptimizerConfig['name'];
  readonly weightDecay: number;
  readonly decay: OptimizerConfig['decay'];
  readonly maxGradNorm: number;
  readonly guidance?: 'fixed-step' | 'fixed-flop' | 'none';
  readonly guidedPart?: number;
  readonly guidanceForm?: GuidanceConfig['form'];
  readonly alphaSchedule?: GuidanceConfig['schedule'];
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
  readonly report?: string;
  readonly sample?: string;
  readonly json?: boolean;
}

/** Everything that a run and its summary need. */
export interface TrainPlan {
  readonly source: RunSource;
  readonly config: TrainConfig;
  /** Null for bare tokens: there is no text to show. */
  readonly tokenizer: Tokenizer | null;
  /** Null where there are no validation tokens. */
  readonly baselines: Baselines | null;
}

interface Data {
  readonly data: TrainConfig['data'];
  readonly tokenizer: Tokenizer | null;
  readonly vocabSize: number | undefined;
}

/**
 * @param out where the files go; undefined with --resume.
 * @throws {UsageError} for options that do not go together, and what reading the data throws.
 */
export function planTraining(options: TrainOptions, out: string | undefined, say: (line: string) => void): TrainPlan {
  if (out === undefined) return planResume(options.resume!);
  if ((options.data === undefined) === (options.tokens === undefined))
    throw new UsageError('give either --data FILE_OR_FOLDER, or --tokens FILE, or --resume FOLDER');
  const given = options.init === undefined ? null : loadCheckpoint(options.init);
  const { data, tokenizer, vocabSize } =
    options.tokens !== undefined
      ? bareTokens(options, options.tokens)
      : prepareText(options, out, given?.tokenizerFile, say);
  const model = given ? (given.config as TransformerConfig) : modelConfig(options, vocabSize);
  if (tokenizer !== null && tokenizer.vocabSize > model.vocabSize)
    throw new UsageError(`the tokenizer has ${tokenizer.vocabSize} ids, the model of --init only ${model.vocabSize}`);
  const config: TrainConfig = {
    model,
    data,
    tokenizer: tokenizer?.name,
    steps: options.steps,
    batchSize: options.batchSize,
    gradientAccumulation: options.accumulate,
    seqLen: given ? options.seqLen : undefined,
    learningRate: options.lr,
    schedule: options.schedule,
    warmup: options.warmup,
    optimizer: { name: options.optimizer, decay: options.decay },
    weightDecay: options.weightDecay,
    maxGradNorm: options.maxGradNorm,
    guidance: guidanceConfig(options, model),
    seed: options.seed,
    device: options.device,
    precision: options.precision,
    recordSteps: options.recordSteps,
    init: options.init,
    checkpoint: join(out, 'checkpoint'),
    saveEvery: options.saveEvery,
    evalEvery: options.evalEvery,
  };
  return { source: { config }, config, tokenizer, baselines: baselinesOf(config) };
}

function planResume(folder: string): TrainPlan {
  const { trainer, tokenizerFile } = loadCheckpoint(folder);
  const { config } = (trainer ?? {}) as { config?: TrainConfig };
  if (config === undefined) throw new UsageError(`${folder} holds a model only; start from it with --init`);
  const hasText = config.tokenizer !== undefined;
  return {
    source: { resume: folder },
    config,
    tokenizer: hasText ? tokenizerOf(tokenizerFile) : null,
    baselines: baselinesOf(config),
  };
}

function bareTokens(options: TrainOptions, path: string): Data {
  if (options.vocabSize === undefined && options.init === undefined)
    throw new UsageError('--tokens needs --vocab-size, or --init with a model');
  return {
    data: { train: resolve(path), validation: options.validationTokens, dtype: 'uint16', order: options.order },
    tokenizer: null,
    vocabSize: options.vocabSize,
  };
}

function prepareText(
  options: TrainOptions,
  out: string,
  initTokenizer: string | undefined,
  say: (line: string) => void,
): Data {
  const documents = readDocuments(options.data!);
  const { train, validation } = splitDocuments(documents);
  const tokenizer =
    options.init !== undefined ? tokenizerOf(initTokenizer) : tokenizerFrom(options.tokenizer, train, out);
  const write = (name: string, part: typeof train): TokenizedText => writeTokens(join(out, name), part, tokenizer);
  const trained = write('train.bin', train);
  const held = write('validation.bin', validation);
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

function modelConfig(options: TrainOptions, vocabSize: number | undefined): TransformerConfig {
  if (!PRESET_NAMES.includes(options.preset as PresetName))
    throw new UsageError(`--preset ${options.preset}: expected one of ${PRESET_NAMES.join(', ')}`);
  const given = {
    vocabSize,
    dModel: options.dModel,
    nLayers: options.layers,
    nHeads: options.heads,
    nKvHeads: options.kvHeads,
    headSize: options.headSize,
    dFF: options.dFf,
    norm: options.norm,
    normEps: options.normEps,
    bias: options.bias ? undefined : false,
    ropeBase: options.ropeBase,
    tieEmbeddings: options.untied ? false : undefined,
    seqLen: options.seqLen,
    activation: options.activation,
  };
  return presetConfig(options.preset as PresetName, {
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    ffn: ffnStructure(options),
    firstFfnDense: !options.allStructured,
  });
}

function ffnStructure({ structure, ratio, rank, nblocks, innerActivation }: TrainOptions): FfnStructure {
  const common = { structure, ...(innerActivation && { innerActivation }) };
  if (structure === 'dense') return common;
  if (rank !== undefined || nblocks !== undefined) return { ...common, rank, nblocks, ratio };
  return { ...common, ratio: ratio ?? 0.32 };
}

/** Weights from a checkpoint are trained already: unless asked for, they get no guide. */
function guidanceConfig(options: TrainOptions, model: TransformerConfig): GuidanceConfig | undefined {
  const protocol = options.guidance ?? (options.init === undefined ? 'fixed-step' : 'none');
  if (protocol === 'none' || model.ffn === undefined || model.ffn.structure === 'dense') return undefined;
  return {
    protocol,
    part: options.guidedPart,
    form: options.guidanceForm,
    schedule: options.alphaSchedule,
  };
}

function baselinesOf({ data, model }: TrainConfig): Baselines | null {
  if (data.validation === undefined || !existsSync(data.train) || !existsSync(data.validation)) return null;
  using train = new TokenFile(data.train, data.dtype);
  using validation = new TokenFile(data.validation, data.dtype);
  return ngramBaselines(train, validation, model.vocabSize);
}
