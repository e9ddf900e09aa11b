/** What a TransformerLM is made of: plain data, checked, with the paper's presets and small ones. */
import { checkChoice, checkInteger, checkNumber, OptionError } from '../errors';
import { ACTIVATIONS, type Activation } from '../ops';
import { checkStructure } from '../structures';
import type { FfnStructure } from './feed_forward';

export interface TransformerConfig {
  readonly vocabSize: number;
  readonly dModel: number;
  readonly nLayers: number;
  readonly nHeads: number;
  /** Key and value heads (grouped queries). Default: nHeads. */
  readonly nKvHeads?: number;
  /** Width of all query heads together. Default: dModel. */
  readonly attnDim?: number;
  /** Default: 4·dModel. */
  readonly dFF?: number;
  /** Longest context. */
  readonly seqLen: number;
  /** Default: layer. */
  readonly norm?: 'layer' | 'rms';
  /** Default: gelu. */
  readonly activation?: Activation;
  /** Biases in linear layers and norms. Default: true. */
  readonly bias?: boolean;
  /** Default: 10000. */
  readonly ropeBase?: number;
  /** Default: dense. */
  readonly ffn?: FfnStructure;
  /** Whether the first block's feedforward network stays dense, as in the paper. Default: true. */
  readonly firstFfnDense?: boolean;
}

export type PresetName = 'tiny' | 'mini' | 'small' | 's' | 'm' | 'l' | 'xl';

type Preset = Pick<TransformerConfig, 'dModel' | 'nLayers' | 'nHeads' | 'seqLen'>;

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

export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[];

/** The config of a preset, with whatever is given in place of its values. vocabSize defaults to 32000. */
export function presetConfig(name: PresetName, overrides: Partial<TransformerConfig> = {}): TransformerConfig {
  checkChoice('preset', name, PRESET_NAMES);
  return { vocabSize: 32000, ...PRESETS[name], ...overrides };
}

/** @throws {OptionError} that names the first value that makes no sense. */
export function checkTransformerConfig(config: TransformerConfig): void {
  if (config === null || typeof config !== 'object') throw new OptionError('config', 'an object', config);
  for (const name of ['vocabSize', 'dModel', 'nLayers', 'nHeads', 'seqLen'] as const)
    checkInteger(`config: ${name}`, config[name]);
  for (const name of ['nKvHeads', 'attnDim', 'dFF'] as const)
    if (config[name] !== undefined) checkInteger(`config: ${name}`, config[name]);
  if (config.norm !== undefined) checkChoice('config: norm', config.norm, ['layer', 'rms']);
  if (config.activation !== undefined) checkChoice('config: activation', config.activation, ACTIVATIONS);
  if (config.ropeBase !== undefined) checkNumber('config: ropeBase', config.ropeBase, 0);
  for (const name of ['bias', 'firstFfnDense'] as const)
    if (config[name] !== undefined && typeof config[name] !== 'boolean')
      throw new OptionError(`config: ${name}`, 'true or false', config[name]);
  if (config.ffn === undefined) return;
  if (config.ffn === null || typeof config.ffn !== 'object')
    throw new OptionError('config: ffn', 'an object', config.ffn);
  checkStructure('config: ffn.structure', config.ffn.structure);
}
