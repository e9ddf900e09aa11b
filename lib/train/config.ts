/** The config of a training run: plain data, checked before anything is built, kept in every checkpoint. */
import type { RowOrder, TokenDType } from '../data';
import { ROW_ORDERS } from '../data/row_order';
import { checkDevice, type Device } from '../device';
import { checkBoolean, checkChoice, checkInteger, checkNumber, OptionError } from '../errors';
import { checkTransformerConfig, type GuidanceForm, type TransformerConfig } from '../nn';
import { SCHEDULE_NAMES, type ScheduleName } from '../optim/schedule';
import { checkKeys, type OptionNames } from '../options';
import { checkOptimizerConfig, type OptimizerConfig } from './optimizer';
import { checkSkipConfig, type SkipConfig } from './skipping';

/** Self-guided training. */
export interface GuidanceConfig {
  /**
   * `fixed-step`: the guide helps in a part of the steps. `fixed-flop`: the batches of the guided steps are repeated at
   * the end with the plain layers, and the learning rate spans the repeats too. Default: fixed-step.
   */
  readonly protocol?: 'fixed-step' | 'fixed-flop';
  /** Guided steps as a part of all steps. Default: 0.5 (fixed-step), 0.3 (fixed-flop). */
  readonly part?: number;
  /** Default: cosine. */
  readonly schedule?: 'cosine' | 'linear';
  /** Default: published. */
  readonly form?: GuidanceForm;
}

/** Part of all steps that warm up. */
export const DEFAULT_WARMUP = 0.1;

/** A training run, as plain data. */
export interface TrainConfig {
  /** The model. */
  readonly model: TransformerConfig;
  /** What it is trained on. */
  readonly data: {
    /** Token files, see docs/training.md. */
    readonly train: string;
    /** Token file to evaluate on. Default: none. */
    readonly validation?: string;
    /** Type of the ids in the token files. */
    readonly dtype: TokenDType;
    /** UTF-8 bytes of the validation text, for bits per byte. */
    readonly validationBytes?: number;
    /** Default: random. */
    readonly order?: RowOrder;
  };
  /** `byte`, or the path of a tokenizer.json; kept in checkpoints. */
  readonly tokenizer?: string;
  /** Optimizer steps, before the repeats of `fixed-flop`. */
  readonly steps: number;
  /** Rows in one forward pass. */
  readonly batchSize: number;
  /** Forward passes whose gradients are averaged in one step. Default: 1. */
  readonly gradientAccumulation?: number;
  /** Length of a row. Default: the model's seqLen. */
  readonly seqLen?: number;
  /** Default: AdamW. */
  readonly optimizer?: OptimizerConfig;
  /** Peak of the learning rate. */
  readonly learningRate: number;
  /**
   * After the warm-up: half a cosine or a straight line to `minLearningRate`; the peak to the end; or (`wsd`) the peak, and a
   * straight line in the last `decayPart`. Default: cosine.
   */
  readonly schedule?: ScheduleName;
  /** The learning rate at the end, not with `constant`. Default: a tenth of the peak. */
  readonly minLearningRate?: number;
  /** Part of all steps in which the rate of `wsd` falls. Default: 0.2. */
  readonly decayPart?: number;
  /** Part of all steps that warm up. Default: 0.1. */
  readonly warmup?: number;
  /** Default: 0.1. */
  readonly weightDecay?: number;
  /** Default: 1. */
  readonly maxGradNorm?: number;
  /** Steps to leave out. Default: none; a loss or gradients that are not finite end the run. */
  readonly skip?: SkipConfig;
  /** Self-guided training. Default: none. */
  readonly guidance?: GuidanceConfig;
  /** Initial weights and all draws. Default: 0. */
  readonly seed?: number;
  /** Where the model is and the steps are computed. Default: cpu. */
  readonly device?: Device;
  /**
   * Element type of weights, activations and gradients. With bfloat16, sums, statistics and losses are float32, and the
   * optimizer keeps float32 originals of the weights. Default: float32.
   */
  readonly precision?: 'float32' | 'bfloat16';
  /**
   * Records a step without a guide as a CUDA graph and replays it: the same results, without the time of the launches.
   * Only with device 'cuda'. Default: false.
   */
  readonly recordSteps?: boolean;
  /** A checkpoint to take the weights from; the model must be the same. */
  readonly init?: string;
  /**
   * Whether the model's feedforward layers may have another structure or other sizes than those of `init`: each starts as the
   * nearest one to the matrix that it had, in the Frobenius norm. Default: false.
   */
  readonly convertInit?: boolean;
  /** Where checkpoints go. Default: none are written. */
  readonly checkpoint?: string;
  /**
   * Steps between checkpoints; one is always written at the end. Default: every five minutes, or every 200 steps if
   * those take half a minute or more.
   */
  readonly saveEvery?: number;
  /** Steps between evaluations; there is always one at the end. Default: as for checkpoints. */
  readonly evalEvery?: number;
  /** Whether the model with the lowest loss of an evaluation during the run is kept, in `<checkpoint>-best`. Default: false. */
  readonly keepBest?: boolean;
  /** The run ends after so many evaluations in a row without a lower loss. Default: it never does. */
  readonly patience?: number;
  /** Rows of an evaluation during the run; the last evaluation takes the whole file. Default: 64. */
  readonly evalRows?: number;
}

const OPTIONS: OptionNames<TrainConfig> = {
  model: 0,
  data: 0,
  tokenizer: 0,
  steps: 0,
  batchSize: 0,
  gradientAccumulation: 0,
  seqLen: 0,
  optimizer: 0,
  learningRate: 0,
  schedule: 0,
  minLearningRate: 0,
  decayPart: 0,
  warmup: 0,
  weightDecay: 0,
  maxGradNorm: 0,
  skip: 0,
  guidance: 0,
  seed: 0,
  device: 0,
  precision: 0,
  recordSteps: 0,
  init: 0,
  convertInit: 0,
  checkpoint: 0,
  saveEvery: 0,
  evalEvery: 0,
  evalRows: 0,
  keepBest: 0,
  patience: 0,
};
const DATA: OptionNames<TrainConfig['data']> = { train: 0, validation: 0, dtype: 0, validationBytes: 0, order: 0 };
const GUIDANCE: OptionNames<GuidanceConfig> = { protocol: 0, part: 0, schedule: 0, form: 0 };

/** @throws {OptionError} that names the first value that makes no sense, or the first unknown option. */
export function checkTrainConfig(config: TrainConfig): void {
  if (config === null || typeof config !== 'object') throw new OptionError('train', 'a config object', config);
  checkKeys('TrainConfig', config, OPTIONS);
  checkTransformerConfig(config.model);
  if (typeof config.data?.train !== 'string') throw new OptionError('train: data.train', 'a path', config.data?.train);
  checkKeys('TrainConfig.data', config.data, DATA);
  const { validation, validationBytes, order } = config.data;
  if (order !== undefined) checkChoice('train: data.order', order, ROW_ORDERS);
  for (const [name, path] of Object.entries({
    'data.validation': validation,
    tokenizer: config.tokenizer,
    init: config.init,
    checkpoint: config.checkpoint,
  }))
    if (path !== undefined && typeof path !== 'string') throw new OptionError(`train: ${name}`, 'a path', path);
  if (validationBytes !== undefined) checkInteger('train: data.validationBytes', validationBytes, 0);
  for (const name of ['steps', 'batchSize'] as const) checkInteger(`train: ${name}`, config[name]);
  for (const name of ['gradientAccumulation', 'seqLen', 'saveEvery', 'evalEvery', 'evalRows', 'patience'] as const)
    if (config[name] !== undefined) checkInteger(`train: ${name}`, config[name]);
  if (config.seqLen !== undefined && config.seqLen > config.model.seqLen)
    throw new OptionError('train: seqLen', `at most the model's ${config.model.seqLen}`, config.seqLen);
  if (config.optimizer !== undefined) checkOptimizerConfig(config.optimizer);
  checkLearningRate(config);
  if (config.weightDecay !== undefined) checkNumber('train: weightDecay', config.weightDecay, 0);
  if (config.maxGradNorm !== undefined) checkNumber('train: maxGradNorm', config.maxGradNorm, 0);
  if (config.seed !== undefined) checkInteger('train: seed', config.seed, 0);
  const { device = 'cpu', precision = 'float32' } = config;
  checkDevice('train: device', device);
  checkChoice('train: precision', precision, ['float32', 'bfloat16']);
  const { guidance, recordSteps = false, convertInit = false } = config;
  if (typeof convertInit !== 'boolean') throw new OptionError('train: convertInit', 'true or false', convertInit);
  if (convertInit && config.init === undefined)
    throw new OptionError('train: convertInit', 'false without init, whose layers it converts', convertInit);
  if (typeof recordSteps !== 'boolean') throw new OptionError('train: recordSteps', 'true or false', recordSteps);
  if (recordSteps && device === 'cpu')
    throw new OptionError('train: recordSteps', "false on device 'cpu' (only 'cuda' has CUDA graphs)", recordSteps);
  checkBest(config);
  if (config.skip !== undefined) checkSkipConfig(config.skip, recordSteps);
  if (guidance !== undefined) checkKeys('TrainConfig.guidance', guidance, GUIDANCE);
  if (guidance?.protocol !== undefined)
    checkChoice('train: guidance.protocol', guidance.protocol, ['fixed-step', 'fixed-flop']);
  if (guidance?.part !== undefined) checkNumber('train: guidance.part', guidance.part, 0, 1);
}

function checkBest({ keepBest = false, patience, checkpoint, data }: TrainConfig): void {
  checkBoolean('train: keepBest', keepBest);
  if (keepBest && checkpoint === undefined)
    throw new OptionError('train: keepBest', 'false without a checkpoint', true);
  if (data.validation !== undefined) return;
  if (keepBest) throw new OptionError('train: keepBest', 'false without validation tokens', true);
  if (patience !== undefined) throw new OptionError('train: patience', 'none without validation tokens', patience);
}

function checkLearningRate({ learningRate, schedule, warmup, minLearningRate, decayPart }: TrainConfig): void {
  checkNumber('train: learningRate', learningRate, 0);
  if (schedule !== undefined) checkChoice('train: schedule', schedule, SCHEDULE_NAMES);
  if (warmup !== undefined) checkNumber('train: warmup', warmup, 0, 1);
  if (minLearningRate !== undefined) {
    checkNumber('train: minLearningRate', minLearningRate, 0, learningRate);
    if (schedule === 'constant')
      throw new OptionError('train: minLearningRate', 'none with a constant rate', minLearningRate);
  }
  if (decayPart === undefined) return;
  checkNumber('train: decayPart', decayPart, 0, 1);
  if (schedule !== 'wsd') throw new OptionError('train: decayPart', "none unless the schedule is 'wsd'", decayPart);
}

/** The options of Guidance. */
export const mixing = ({ schedule, form }: GuidanceConfig): Pick<GuidanceConfig, 'schedule' | 'form'> => ({
  schedule,
  form,
});

/** The numbers of steps of each kind in a run. */
export interface StepPlan {
  /** Steps with a guide; 0 without guidance. */
  readonly guided: number;
  /** From this step on the data starts again; equal to `total` if nothing is repeated. */
  readonly repeatFrom: number;
  /** All steps. */
  readonly total: number;
}

/** How many steps of each kind a run has. @throws {OptionError} for what is no config. */
export function planSteps(config: TrainConfig): StepPlan {
  if (config === null || typeof config !== 'object') throw new OptionError('planSteps', 'a config object', config);
  const { steps, guidance } = config;
  if (!guidance) return { guided: 0, repeatFrom: steps, total: steps };
  const { protocol = 'fixed-step', part = protocol === 'fixed-flop' ? 0.3 : 0.5 } = guidance;
  const guided = Math.max(1, Math.round(part * steps));
  return { guided, repeatFrom: steps, total: protocol === 'fixed-flop' ? steps + guided : steps };
}
