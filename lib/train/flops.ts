/** What a training run computes, from its config alone. */
import { checkInteger, checkNumber } from '../errors';
import { countFlops, countParameters, resolveConfig } from '../nn';
import { type Matrices, matricesOf } from '../nn/cost';
import { checkTrainConfig, planSteps, type TrainConfig } from './config';

/** Floating-point operations of a run. */
export interface RunFlops {
  /** Forward and backward passes without guides: three times the forward operations. */
  readonly model: number;
  /** What the guides add: where they are drawn with a probability, the expected value. */
  readonly guide: number;
  /** Updates of the parameters. */
  readonly optimizer: number;
  /** All of them. */
  readonly total: number;
}

/** The operations of AdamW for one value: moments, bias correction, decay and update. */
const ADAMW = 15;
/** Of Muon beside its products: momentum, norm, decay and update. */
const MUON = 12;

/** Newton-Schulz, an iteration: XXᵀ of X [m, n], m <= n, its square, and the product with X. */
function newtonSchulz({ rows, columns, count }: Matrices, iterations: number): number {
  const [m, n] = rows < columns ? [rows, columns] : [columns, rows];
  return count * iterations * (4 * m * m * n + 2 * m * m * m);
}

/** Of one step; with the guides or without. */
function optimizerFlops({ model, optimizer }: TrainConfig, guided: boolean): number {
  const { total, guides } = countParameters(model);
  const all = total + (guided ? guides : 0);
  if (optimizer?.name !== 'muon') return ADAMW * all;
  const matrices = matricesOf(resolveConfig(model));
  const ours = [...matrices.attention, ...matrices.ffn, ...(guided ? matrices.guides : [])];
  const values = ours.reduce((sum, { rows, columns, count }) => sum + rows * columns * count, 0);
  const products = ours.reduce((sum, one) => sum + newtonSchulz(one, optimizer.iterations ?? 5), 0);
  return ADAMW * (all - values) + MUON * values + products;
}

/**
 * How many times a layer computes its guide in steps `from` to `to`, in each pass: the sum of α, the probability of that, or with
 * the form `mixed` always. Guidance has the formulas of α.
 */
function guidedPasses({ guidance }: TrainConfig, guided: number, from: number, to: number): number {
  if (from >= to) return 0;
  if (guidance?.form === 'mixed') return to - from;
  if (guidance?.schedule === 'linear') return (to - from) * (1 - (from + to - 1) / 2 / guided);
  // The sum of cosines of equal distances.
  const sine = (step: number): number => Math.sin((Math.PI * (step - 0.5)) / guided);
  return (to - from + (sine(to) - sine(from)) / (2 * Math.sin(Math.PI / (2 * guided)))) / 2;
}

/**
 * The operations of the steps of a run. @throws {OptionError} for what is no config.
 * @param from the first step, from 0. Default: 0. @param to the step after the last one. Default: all steps.
 *
 * @example
 * const { total } = runFlops(config); // 6e14: ten minutes at a teraflop a second
 */
export function runFlops(config: TrainConfig, from = 0, to?: number): RunFlops {
  checkTrainConfig(config);
  const { guided, total } = planSteps(config);
  const end = to ?? total;
  checkInteger('runFlops: from', from, 0);
  checkInteger('runFlops: to', end, from);
  const steps = end - from;
  const withGuides = Math.max(0, Math.min(guided, end) - from);
  const { batchSize, gradientAccumulation = 1, seqLen = config.model.seqLen } = config;
  const tokens = batchSize * gradientAccumulation * seqLen;
  const perToken = countFlops(config.model, seqLen);
  const model = 3 * perToken.total * tokens * steps;
  const guide = 3 * perToken.guides * tokens * guidedPasses(config, guided, from, from + withGuides);
  const optimizer = withGuides * optimizerFlops(config, true) + (steps - withGuides) * optimizerFlops(config, false);
  return { model, guide, optimizer, total: model + guide + optimizer };
}

/** The most steps, at least 1, of which `fits` holds; it holds of fewer where it holds of more. */
function mostSteps(config: TrainConfig, fits: (config: TrainConfig) => boolean): number {
  const holds = (steps: number): boolean => fits({ ...config, steps });
  let [least, most] = [1, 2];
  while (most < 2 ** 52 && holds(most)) [least, most] = [most, 2 * most];
  while (most - least > 1) {
    const middle = Math.floor((least + most) / 2);
    if (holds(middle)) least = middle;
    else most = middle;
  }
  return least;
}

/** The steps of the longest run of at most `flops` operations; 1 if even that takes more. */
export function stepsForFlops(config: TrainConfig, flops: number): number {
  checkTrainConfig(config);
  checkNumber('stepsForFlops: flops', flops, 0);
  return mostSteps(config, (longer) => runFlops(longer).total <= flops);
}

/** The steps of the longest run that sees at most `tokens` tokens, repeated ones counted again; at least 1. */
export function stepsForTokens(config: TrainConfig, tokens: number): number {
  checkTrainConfig(config);
  checkNumber('stepsForTokens: tokens', tokens, 0);
  const { batchSize, gradientAccumulation = 1, seqLen = config.model.seqLen } = config;
  const each = batchSize * gradientAccumulation * seqLen;
  return mostSteps(config, (longer) => planSteps(longer).total * each <= tokens);
}
