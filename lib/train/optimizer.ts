/** The optimizer of a run: from plain data to the object. */
import { checkChoice, OptionError } from '../errors';
import type { TransformerLM } from '../nn';
import { AdamW, type AdamWOptions, Muon, type MuonOptions, type Optimizer } from '../optim';
import { checkAdamWValues } from '../optim/adamw';
import { checkMuonValues } from '../optim/muon';
import { checkKeys, type OptionNames } from '../options';
import type { TrainConfig } from './config';

/** The learning rate and the weight decay are the run's. */
export interface AdamWConfig extends Omit<AdamWOptions, 'lr' | 'weightDecay'> {
  /** Tells the optimizers apart. */
  readonly name: 'adamw';
}

/** `adjustLr` is `match-rms-adamw` by default, so that one learning rate serves all parameters. */
export interface MuonConfig extends Omit<MuonOptions, 'lr' | 'weightDecay' | 'isMatrix'> {
  /** Tells the optimizers apart. */
  readonly name: 'muon';
}

/** The optimizer of a run, as plain data. */
export type OptimizerConfig = AdamWConfig | MuonConfig;

/** Makes the optimizer of a trainer. */
export type OptimizerFactory = (model: TransformerLM, config: TrainConfig) => Optimizer;

const ADAMW: OptionNames<AdamWConfig> = { name: 0, betas: 0, eps: 0, decay: 0 };
const MUON: OptionNames<MuonConfig> = {
  ...ADAMW,
  momentum: 0,
  nesterov: 0,
  iterations: 0,
  adjustLr: 0,
  adamwLrScale: 0,
};

/** @throws {OptionError} */
export function checkOptimizerConfig(config: OptimizerConfig): void {
  if (config === null || typeof config !== 'object')
    throw new OptionError('train: optimizer', "an object such as { name: 'muon' }", config);
  checkChoice('train: optimizer.name', config.name, ['adamw', 'muon']);
  if (config.name === 'adamw') {
    checkKeys('TrainConfig.optimizer (adamw)', config, ADAMW);
    checkAdamWValues('train: optimizer', config);
  } else {
    checkKeys('TrainConfig.optimizer (muon)', config, MUON);
    checkMuonValues('train: optimizer', config);
  }
}

/** The optimizer that a config describes; AdamW if it names none. */
export const createOptimizer: OptimizerFactory = (
  model,
  { optimizer = { name: 'adamw' }, learningRate, weightDecay },
) => {
  if (optimizer.name === 'adamw') {
    const { name: _, ...options } = optimizer;
    return new AdamW(model, { ...options, lr: learningRate, weightDecay });
  }
  const { name: _, adjustLr = 'match-rms-adamw', ...options } = optimizer;
  return new Muon(model, { ...options, adjustLr, lr: learningRate, weightDecay });
};
