/** Steps that are not taken because their loss or gradients are out of line. */
import { checkInteger, checkNumber, OptionError } from '../errors';
import { checkKeys, isObject } from '../options';

/** When the update of a step is left out: its batch was seen, the weights stay. */
export interface SkipConfig {
  /** How many steps in a row may have a loss or gradients that are not finite, before the run ends. Default: 0. */
  readonly nonFinite?: number;
  /**
   * Steps are skipped whose loss or gradient norm is more than this many standard deviations above the mean of the latest 128
   * steps, as soon as there are that many. Default: none.
   */
  readonly zScore?: number;
}

/** Steps whose mean and deviation count. */
const WINDOW = 128;

/** Where skipping stands; plain data for checkpoints. */
export interface SkipState {
  /** Steps in a row that were not finite. */
  readonly nonFinite: number;
  /** Of the latest steps, the oldest first. */
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
}

/** @throws {OptionError} */
export function checkSkipConfig(skip: SkipConfig, recordSteps: boolean): void {
  checkKeys('TrainConfig.skip', skip, { nonFinite: 0, zScore: 0 });
  const { nonFinite, zScore } = skip;
  if (nonFinite !== undefined) checkInteger('train: skip.nonFinite', nonFinite, 0);
  if (zScore === undefined) return;
  checkNumber('train: skip.zScore', zScore, 0);
  if (recordSteps)
    throw new OptionError(
      'train: skip.zScore',
      'none with recordSteps: a recorded step cannot wait for its loss',
      zScore,
    );
}

/** Whether what a checkpoint holds can be restored. */
export function isSkipState(state: unknown): state is SkipState {
  if (!isObject(state)) return false;
  const { nonFinite, losses, gradNorms } = state;
  const isWindow = (list: unknown) => Array.isArray(list) && list.length <= WINDOW && list.every(Number.isFinite);
  return Number.isSafeInteger(nonFinite) && (nonFinite as number) >= 0 && isWindow(losses) && isWindow(gradNorms);
}

/** How many standard deviations a value is above the mean; 0 where all values are the same. */
function zScoreOf(value: number, values: readonly number[]): number {
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const variance = values.reduce((sum, each) => sum + (each - mean) ** 2, 0) / values.length;
  return variance > 0 ? (value - mean) / Math.sqrt(variance) : 0;
}

/** Decides which steps are skipped. */
export class Skipping {
  readonly #allowed: number;
  readonly #zScore: number;
  #nonFinite = 0;
  #losses: number[] = [];
  #gradNorms: number[] = [];

  constructor({ nonFinite = 0, zScore = Number.POSITIVE_INFINITY }: SkipConfig) {
    this.#allowed = nonFinite;
    this.#zScore = zScore;
  }

  /** Whether the update of a step with these values is left out. Call once for each step. */
  skips(loss: number, gradNorm: number): boolean {
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      this.#nonFinite++;
      return true;
    }
    this.#nonFinite = 0;
    if (this.#zScore === Number.POSITIVE_INFINITY) return false;
    const full = this.#losses.length === WINDOW;
    const score = full ? Math.max(zScoreOf(loss, this.#losses), zScoreOf(gradNorm, this.#gradNorms)) : 0;
    // Those that are skipped count as well: where the loss has moved for good, training goes on.
    this.#losses = [...this.#losses, loss].slice(-WINDOW);
    this.#gradNorms = [...this.#gradNorms, gradNorm].slice(-WINDOW);
    return score > this.#zScore;
  }

  /** Whether more steps in a row than are allowed were not finite. */
  get diverged(): boolean {
    return this.#nonFinite > this.#allowed;
  }

  /** Where it stands, as plain data. */
  state(): SkipState {
    return { nonFinite: this.#nonFinite, losses: this.#losses, gradNorms: this.#gradNorms };
  }

  /** Goes on from what `state()` gave. */
  restore({ nonFinite, losses, gradNorms }: SkipState): void {
    this.#nonFinite = nonFinite;
    this.#losses = [...losses];
    this.#gradNorms = [...gradNorms];
  }
}
