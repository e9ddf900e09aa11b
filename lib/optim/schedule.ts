/** Learning rates as functions of the step, counted from 0. */
import { checkInteger, checkNumber } from '../errors';
import { checkKeys } from '../options';

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

function decay(where: string, options: DecayOptions, curve: (part: number) => number): Schedule {
  checkKeys(where, options, { peak: 0, totalSteps: 0, warmupSteps: 0, minRatio: 0 });
  const { peak, totalSteps, warmupSteps = 0, minRatio = 0.1 } = options;
  checkNumber(`${where}: peak`, peak, 0);
  checkInteger(`${where}: totalSteps`, totalSteps);
  checkInteger(`${where}: warmupSteps`, warmupSteps, 0);
  checkNumber(`${where}: minRatio`, minRatio, 0, 1);
  return (step) => {
    if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
    const part = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
    return peak * (minRatio + (1 - minRatio) * curve(part));
  };
}

/** Warm-up, then half a cosine from the peak to minRatio·peak: the paper's schedule. */
export const cosineSchedule = (options: DecayOptions): Schedule =>
  decay('cosineSchedule', options, (part) => (1 + Math.cos(Math.PI * part)) / 2);

/** Warm-up, then a straight line from the peak to minRatio·peak. */
export const linearSchedule = (options: DecayOptions): Schedule => decay('linearSchedule', options, (part) => 1 - part);

/** Warm-up, then the peak for ever. */
export const constantSchedule = (options: Pick<DecayOptions, 'peak' | 'warmupSteps'>): Schedule =>
  decay('constantSchedule', { ...options, totalSteps: 1, minRatio: 1 }, () => 1);
