/** Learning rates as functions of the step, counted from 0. */
import { checkInteger, checkNumber } from '../errors';
import { checkKeys, type OptionNames } from '../options';

/** The schedules by name: half a cosine, a line, the peak for ever, and the peak with a line at the end. */
export type ScheduleName = 'cosine' | 'linear' | 'constant' | 'wsd';
export const SCHEDULE_NAMES: readonly ScheduleName[] = ['cosine', 'linear', 'constant', 'wsd'];

/** Learning rate at a step. */
export type Schedule = (step: number) => number;

/** Options of the schedules. */
export interface DecayOptions {
  /** Highest learning rate. */
  readonly peak: number;
  /** Steps until the end of the decay; later steps keep the last rate. */
  readonly totalSteps: number;
  /** Steps of linear warm-up: peak·(step + 1)/warmupSteps. Default: 0. */
  readonly warmupSteps?: number;
  /** The rate at the end of the decay, as a part of the peak. Default: 0.1. */
  readonly minRatio?: number;
}

const DECAY_OPTIONS: OptionNames<DecayOptions> = { peak: 0, totalSteps: 0, warmupSteps: 0, minRatio: 0 };

function decay(where: string, options: DecayOptions, curve: (step: number, steps: number) => number): Schedule {
  checkKeys(where, options, DECAY_OPTIONS);
  const { peak, totalSteps, warmupSteps = 0, minRatio = 0.1 } = options;
  checkNumber(`${where}: peak`, peak, 0);
  checkInteger(`${where}: totalSteps`, totalSteps);
  checkInteger(`${where}: warmupSteps`, warmupSteps, 0);
  checkNumber(`${where}: minRatio`, minRatio, 0, 1);
  return (step) => {
    if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
    const steps = Math.max(1, totalSteps - warmupSteps);
    return peak * (minRatio + (1 - minRatio) * curve(Math.min(step - warmupSteps, steps), steps));
  };
}

/** Warm-up, then half a cosine from the peak to minRatio·peak: the paper's schedule. */
export const cosineSchedule = (options: DecayOptions): Schedule =>
  decay('cosineSchedule', options, (step, steps) => (1 + Math.cos(Math.PI * (step / steps))) / 2);

/** Warm-up, then a straight line from the peak to minRatio·peak. */
export const linearSchedule = (options: DecayOptions): Schedule =>
  decay('linearSchedule', options, (step, steps) => 1 - step / steps);

/** Options of `wsdSchedule`. */
export interface StableOptions extends DecayOptions {
  /** Steps of the decay, the last of `totalSteps`; at most all after the warm-up. Default: a fifth of `totalSteps`. */
  readonly decaySteps?: number;
}

/**
 * Warm-up, then the peak, then a straight line to minRatio·peak (warm-up, stable, decay). The rates before the decay do not
 * depend on `totalSteps`: a run that stops there can go on to any length.
 */
export function wsdSchedule(options: StableOptions): Schedule {
  checkKeys('wsdSchedule', options, { ...DECAY_OPTIONS, decaySteps: 0 });
  checkInteger('wsdSchedule: totalSteps', options.totalSteps);
  const { decaySteps = Math.round(options.totalSteps / 5), ...rest } = options;
  checkInteger('wsdSchedule: decaySteps', decaySteps, 0);
  return decay('wsdSchedule', rest, (step, steps) =>
    step < steps - decaySteps ? 1 : (steps - step) / Math.max(1, Math.min(decaySteps, steps)),
  );
}

/** Warm-up, then the peak for ever. */
export const constantSchedule = (options: Pick<DecayOptions, 'peak' | 'warmupSteps'>): Schedule =>
  decay('constantSchedule', { ...options, totalSteps: 1, minRatio: 1 }, () => 1);
