/** The optimizer of a run: from plain data to the object. */

import { classOf } from '../dtype';
import { checkChoice, OptionError } from '../errors';
import type { TransformerLM } from '../nn';
import {
  AdamW,
  type AdamWOptions,
  Muon,
  type MuonOptions,
  type Optimizer,
  type OptimizerState,
  type UpdateResult,
} from '../optim';
import { checkAdamWValues } from '../optim/adamw';
import { checkMuonValues } from '../optim/muon';
import { checkKeys, isObject, type OptionNames } from '../options';
import { isTensor } from '../tensor';
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

const METHODS = [
  'step',
  'zeroGrad',
  'remove',
  'stateDict',
  'loadStateDict',
  'dispose',
] as const satisfies readonly (keyof Optimizer)[];

/** @throws {OptionError} unless it is what a caller's factory must give. */
export function checkOptimizer(value: unknown): asserts value is Optimizer {
  if (!isObject(value) || METHODS.some((name) => typeof value[name] !== 'function'))
    throw new OptionError('Trainer: optimizer', `a function that returns an object with ${METHODS.join(', ')}`, value);
}

/** What a caller's optimizer gave for a step. @throws {OptionError} */
export function checkedUpdate(value: unknown): UpdateResult {
  if (!isObject(value) || !('gradNorm' in value) || typeof value.readWith !== 'function')
    throw new OptionError('Trainer: optimizer.step', 'a result with gradNorm and readWith', value);
  return value as unknown as UpdateResult;
}

/** What a caller's optimizer read of a step. @throws {OptionError} */
export function checkRead(losses: unknown, count: number, gradNorm: unknown): void {
  if (!Array.isArray(losses) || losses.length !== count || Array.from(losses).some((loss) => typeof loss !== 'number'))
    throw new OptionError('Trainer: optimizer.step: readWith', `a result of ${count} numbers`, losses);
  if (typeof gradNorm !== 'number') throw new OptionError('Trainer: optimizer.step: gradNorm', 'a number', gradNorm);
}

/** The state of a caller's optimizer. @throws {OptionError} */
export function checkedState(value: unknown): OptimizerState {
  if (!isObject(value) || !Number.isSafeInteger(value.stepCount) || classOf(value.tensors) !== 'Map')
    throw new OptionError('Trainer: optimizer.stateDict', 'an object of stepCount and tensors', value);
  for (const [name, state] of value.tensors as Map<unknown, unknown>)
    if (typeof name !== 'string' || !isTensor(state))
      throw new OptionError('Trainer: optimizer.stateDict: tensors', 'tensors by name', state);
  return value as unknown as OptimizerState;
}
