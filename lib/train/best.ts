/** The lowest validation loss of a run so far. */
import { isObject } from '../options';

/** Plain data for checkpoints. */
export interface BestLoss {
  /** Nats per token, of an evaluation during the run. */
  readonly loss: number;
  /** Steps taken then. */
  readonly step: number;
  /** Evaluations since then. */
  readonly evaluationsSince: number;
}

/** After another evaluation. */
export const nextBest = (best: BestLoss | null, loss: number, step: number): BestLoss =>
  best === null || loss < best.loss
    ? { loss, step, evaluationsSince: 0 }
    : { ...best, evaluationsSince: best.evaluationsSince + 1 };

/** Whether what a checkpoint holds is one. */
export const isBestLoss = (value: unknown): value is BestLoss =>
  isObject(value) &&
  Number.isFinite(value.loss) &&
  [value.step, value.evaluationsSince].every((count) => Number.isSafeInteger(count) && (count as number) >= 0);
