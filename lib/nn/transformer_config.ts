/** The config of a TransformerLM: plain data, checked and completed only here, with presets. */
import { checkChoice, checkInteger, checkNumber, OptionError } from '../errors';
import { ACTIVATIONS, type Activation, FFN_ACTIVATION, NORM_EPS, ROPE_BASE } from '../ops';
import { checkInnerActivation } from '../ops/inner_activation';
import { checkKeys, type OptionNames } from '../options';
import { checkStructure, type Sizes } from '../structures';
import type { FfnStructure } from './feed_forward';

/** What a transformer is made of, as plain data. */
export interface TransformerConfig {
  /** Number of token ids. */
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  /** Number of blocks. */
  readonly nLayers: number;
  /** Query heads. */
  readonly nHeads: number;
  /** Key and value heads (grouped queries). Default: nHeads. */
  readonly nKvHeads?: number;
  /** Width of one head. Default: attnDim / nHeads. */
  readonly headSize?: number;
  /** Width of all query heads together. Default: nHeads·headSize if that is given, else dModel. */
  readonly attnDim?: number;
  /** Default: 4·dModel. */
  readonly dFF?: number;
  /** Longest context. */
  readonly seqLen: number;
  /** Default: layer. */
  readonly norm?: 'layer' | 'rms';
  /** Added to the variance, or to the mean of the squares, in every norm. Default: 1e-5. */
  readonly normEps?: number;
  /** Default: gelu. */
  readonly activation?: Activation;
  /** Biases in linear layers and norms. Default: true. */
  readonly bias?: boolean;
  /** A bias in the projection to queries, keys and values. Default: bias. */
  readonly qkvBias?: boolean;
  /** A bias in the projection of attention's output. Default: bias. */
  readonly outBias?: boolean;
  /** An RMS norm of each query and each key, before the rotary positions. Default: false. */
  readonly qkNorm?: boolean;
  /** Base of the rotary positions; 0 for none. Default: 10000, or 0 with learned positions. */
  readonly ropeBase?: number;
  /** Not supported yet: the kernels know rotary positions by their base alone. */
  readonly ropeScaling?: null;
  /** An embedding of the position, added to that of the token. Default: false. */
  readonly learnedPositions?: boolean;
  /**
   * Earlier tokens that a token sees, itself included; null: all. Less than seqLen is not supported yet. Default: null.
   */
  readonly slidingWindow?: number | null;
  /**
   * Whether the embedding is also the output projection; otherwise that is a separate matrix, `head`. Default: true.
   */
  readonly tieEmbeddings?: boolean;
  /** Default: dense. */
  readonly ffn?: FfnStructure;
  /** Whether the first block's feedforward network stays dense, as in the paper. Default: true. */
  readonly firstFfnDense?: boolean;
}

/** A config with every option set; frozen, and shared with no other object. */
export type ResolvedConfig = Readonly<Required<TransformerConfig>>;

/** Names of the presets. */
export type PresetName = 'tiny' | 'mini' | 'small' | 's' | 'm' | 'l' | 'xl';

/** What a preset says. */
export type Preset = Pick<TransformerConfig, 'dModel' | 'nLayers' | 'nHeads' | 'seqLen'>;

/** s to xl: the paper's models, with its vocabulary of 32000. tiny to small: models that train on a laptop. */
export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  tiny: { dModel: 64, nLayers: 2, nHeads: 2, seqLen: 64 },
  mini: { dModel: 192, nLayers: 4, nHeads: 4, seqLen: 128 },
  small: { dModel: 384, nLayers: 6, nHeads: 6, seqLen: 256 },
  s: { dModel: 768, nLayers: 12, nHeads: 12, seqLen: 1024 },
  m: { dModel: 1024, nLayers: 24, nHeads: 16, seqLen: 1024 },
  l: { dModel: 1536, nLayers: 24, nHeads: 12, seqLen: 1024 },
  xl: { dModel: 2048, nLayers: 24, nHeads: 16, seqLen: 1024 },
};

/** Names of the presets, smallest first. */
export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[];

/** The config of a preset, with the given values instead of its own. vocabSize defaults to 32000. */
export function presetConfig(name: PresetName, overrides: Partial<TransformerConfig> = {}): TransformerConfig {
  checkChoice('preset', name, PRESET_NAMES);
  checkKeys('TransformerConfig', overrides, OPTIONS);
  return { vocabSize: 32000, ...PRESETS[name], ...overrides };
}

type Check = (where: string, value: unknown) => void;

const whole: Check = (where, value) => checkInteger(where, value);
const atLeastZero: Check = (where, value) => checkNumber(where, value, 0);
const flag: Check = (where, value) => {
  if (typeof value !== 'boolean') throw new OptionError(where, 'true or false', value);
};
const choice =
  (choices: readonly string[]): Check =>
  (where, value) =>
    checkChoice(where, value, choices);

/** The names of the options in `ffn`. */
export const FFN_OPTIONS: OptionNames<FfnStructure> = {
  structure: 0,
  rank: 0,
  nblocks: 0,
  ratio: 0,
  fc1: 0,
  fc2: 0,
  innerActivation: 0,
  init: 0,
};
const SIZES: OptionNames<Sizes> = { rank: 0, nblocks: 0 };

const REQUIRED = { vocabSize: whole, dModel: whole, nLayers: whole, nHeads: whole, seqLen: whole };

/** The part of a config that attention needs. */
export const ATTENTION_OPTIONS = {
  dModel: whole,
  nHeads: whole,
  nKvHeads: whole,
  headSize: whole,
  attnDim: whole,
  ropeBase: atLeastZero,
  bias: flag,
  qkvBias: flag,
  outBias: flag,
  qkNorm: flag,
  normEps: atLeastZero,
};

const OPTIONS: Readonly<Record<keyof TransformerConfig, Check>> = {
  ...REQUIRED,
  ...ATTENTION_OPTIONS,
  dFF: whole,
  norm: choice(['layer', 'rms']),
  activation: choice(ACTIVATIONS),
  ropeScaling: (where, value) => {
    if (value !== null) throw new OptionError(where, 'null (scaled rotary positions are not supported yet)', value);
  },
  learnedPositions: flag,
  slidingWindow: (where, value) => {
    if (value !== null) checkInteger(where, value);
  },
  tieEmbeddings: flag,
  ffn: (where, value) => {
    if (value === null || typeof value !== 'object') throw new OptionError(where, 'an object', value);
  },
  firstFfnDense: flag,
};

/** The given values, and the required ones. */
function checkValues(where: string, values: object, checks: Readonly<Record<string, Check>>): void {
  for (const [name, check] of Object.entries(checks)) {
    const value: unknown = Reflect.get(values, name);
    if (value !== undefined || name in REQUIRED) check(`${where}: ${name}`, value);
  }
}

/** What of a config attention needs. */
export type AttentionConfig = Pick<TransformerConfig, keyof typeof ATTENTION_OPTIONS>;

/** Attention with every option set. @throws {OptionError} when the heads do not divide. */
export function resolveAttention(config: AttentionConfig): Readonly<Required<AttentionConfig>> {
  checkValues('attention', config, ATTENTION_OPTIONS);
  const { dModel, nHeads, nKvHeads = nHeads, ropeBase = ROPE_BASE, qkNorm = false, normEps = NORM_EPS } = config;
  const { bias = true, qkvBias = bias, outBias = bias } = config;
  const { attnDim = config.headSize === undefined ? dModel : nHeads * config.headSize } = config;
  if (attnDim % nHeads !== 0) throw new OptionError('attention: nHeads', `a divisor of attnDim (${attnDim})`, nHeads);
  const { headSize = attnDim / nHeads } = config;
  if (headSize !== attnDim / nHeads)
    throw new OptionError('attention: headSize', `attnDim / nHeads (${attnDim / nHeads})`, headSize);
  if (nHeads % nKvHeads !== 0)
    throw new OptionError('attention: nKvHeads', `a divisor of nHeads (${nHeads})`, nKvHeads);
  if (ropeBase > 0 && headSize % 2 !== 0)
    throw new OptionError('attention: head size', 'an even number for rotary positions', headSize);
  return { dModel, nHeads, nKvHeads, headSize, attnDim, ropeBase, bias, qkvBias, outBias, qkNorm, normEps };
}

/** What a feedforward network needs to know besides its structure. */
export type FeedForwardConfig = Pick<TransformerConfig, 'dModel' | 'dFF' | 'activation'>;

/** Its sizes and activation with every option set. @throws {OptionError} */
export function resolveFeedForward({
  dModel,
  dFF = 4 * dModel,
  activation = FFN_ACTIVATION,
}: FeedForwardConfig): Readonly<Required<FeedForwardConfig>> {
  checkInteger('FeedForward: dModel', dModel);
  checkInteger('FeedForward: dFF', dFF);
  checkChoice('FeedForward: activation', activation, ACTIVATIONS);
  return { dModel, dFF, activation };
}

/** A frozen copy. @throws {OptionError} for a name that is not known. */
function copyOf(ffn: FfnStructure): FfnStructure {
  checkKeys('TransformerConfig.ffn', ffn, FFN_OPTIONS);
  checkStructure('config: ffn.structure', ffn.structure);
  checkInnerActivation('config: ffn', ffn.innerActivation ?? 'none', ffn.structure === 'dense');
  const sizes = (['fc1', 'fc2'] as const).flatMap((name) => {
    const own = ffn[name];
    if (own === undefined) return [];
    checkKeys(`TransformerConfig.ffn.${name}`, own, SIZES);
    return [[name, Object.freeze(structuredClone(own))] as const];
  });
  return Object.freeze({ ...structuredClone(ffn), ...Object.fromEntries(sizes) });
}

const RESOLVED = new WeakSet<object>();

const isResolved = (config: TransformerConfig): config is ResolvedConfig => RESOLVED.has(config);

/**
 * A frozen copy with every option set. A resolved config is returned as it is.
 * @throws {OptionError} that names the first option that is unknown, makes no sense, or is not supported yet.
 */
export function resolveConfig(config: TransformerConfig): ResolvedConfig {
  if (isResolved(config)) return config;
  if (config === null || typeof config !== 'object') throw new OptionError('config', 'an object', config);
  checkKeys('TransformerConfig', config, OPTIONS);
  checkValues('config', config, OPTIONS);
  const { vocabSize, nLayers, seqLen, norm = 'layer', ffn = { structure: 'dense' }, firstFfnDense = true } = config;
  const { ropeScaling = null, slidingWindow = null, tieEmbeddings = true, learnedPositions = false } = config;
  const { ropeBase = learnedPositions ? 0 : undefined } = config;
  if (slidingWindow !== null && slidingWindow < seqLen)
    throw new OptionError(
      'config: slidingWindow',
      `null or seqLen (${seqLen}); less is not supported yet`,
      slidingWindow,
    );
  const resolved = Object.freeze({
    ...resolveAttention({ ...config, ropeBase }),
    ...resolveFeedForward(config),
    vocabSize,
    nLayers,
    seqLen,
    norm,
    ropeScaling,
    learnedPositions,
    slidingWindow,
    tieEmbeddings,
    ffn: copyOf(ffn),
    firstFfnDense,
  });
  RESOLVED.add(resolved);
  return resolved;
}

/** @throws {OptionError} as resolveConfig does. */
export function checkTransformerConfig(config: TransformerConfig): void {
  resolveConfig(config);
}
