/**
 * The schedule of self-guided training: how much of the dense guide each step mixes in (Wei et al. 2024, section 3.2).
 */
import { checkBoolean, checkChoice, checkInteger, checkNumber, OptionError } from '../errors';
import { checkKeys, isObject } from '../options';
import { Generator, type GeneratorState } from '../random';
import { refuseWhileRecording } from '../recorded_step';

/**
 * How a training forward uses the guide; evaluation always mixes α·W + (1−α)·S.
 * - `mixed`: as evaluation does, at the full cost of the guide.
 * - `published`: with probability α the mix, otherwise S alone. What the paper's results came from; the expected mix
 *   is α²·W + (1−α²)·S.
 * - `unbiased`: with probability p = max(α, minProbability), S + (α/p)·(W − S), otherwise S: the expectation is the mix.
 */
export type GuidanceForm = 'mixed' | 'published' | 'unbiased';

/** Options of `Guidance`. */
export interface GuidanceOptions {
  /** Optimizer steps until α is 0 and the guides are released. */
  readonly steps: number;
  /** How α falls from 1 to 0. Default: cosine. */
  readonly schedule?: 'cosine' | 'linear';
  /** Default: published. */
  readonly form?: GuidanceForm;
  /** Lower bound of the probability of a draw, for `unbiased`. Default: 0. */
  readonly minProbability?: number;
  /** Seed of the draws. Default: 0. */
  readonly seed?: number;
}

/** Where the schedule stands; plain data for checkpoints. */
export interface GuidanceState {
  /** Optimizer steps taken. */
  readonly step: number;
  /** Where the draws stand. */
  readonly generator: GeneratorState;
}

/** The factors of one forward call: y = guideScale · x Wᵀ + factorScale · S(x). */
export interface GuidanceScales {
  /** Weight of the guide. */
  readonly guideScale: number;
  /** Weight of the factors. */
  readonly factorScale: number;
}

const WITHOUT_GUIDE: GuidanceScales = { guideScale: 0, factorScale: 1 };

/** One schedule for all layers of a model; the layers draw from its generator in the order of their calls. */
export class Guidance {
  /** Optimizer steps until the guides are released. */
  readonly steps: number;
  /** How α falls from 1 to 0. */
  readonly schedule: 'cosine' | 'linear';
  /** How a training forward uses the guide. */
  readonly form: GuidanceForm;
  /** Lower bound of the probability of a draw, for `unbiased`. */
  readonly minProbability: number;
  #step = 0;
  #generator: Generator;

  /** @throws {OptionError} */
  constructor(options: GuidanceOptions) {
    checkKeys('Guidance', options, { steps: 0, schedule: 0, form: 0, minProbability: 0, seed: 0 });
    const { steps, schedule = 'cosine', form = 'published', minProbability = 0, seed = 0 } = options;
    checkInteger('guidance: steps', steps);
    checkChoice('guidance: schedule', schedule, ['cosine', 'linear']);
    checkChoice('guidance: form', form, ['mixed', 'published', 'unbiased']);
    checkNumber('guidance: minProbability', minProbability, 0, 1);
    this.steps = steps;
    this.schedule = schedule;
    this.form = form;
    this.minProbability = minProbability;
    this.#generator = new Generator(seed);
  }

  /** Optimizer steps taken. */
  get step(): number {
    return this.#step;
  }

  /** Weight of the guide now: 1 at step 0, 0 from `steps` on. */
  get alpha(): number {
    const part = Math.min(1, this.#step / this.steps);
    return this.schedule === 'linear' ? 1 - part : (1 + Math.cos(Math.PI * part)) / 2;
  }

  /** Whether the time of the guides is over. */
  get finished(): boolean {
    return this.#step >= this.steps;
  }

  /** Call after every optimizer step. Returns `finished`. */
  advance(): boolean {
    this.#step++;
    return this.finished;
  }

  /** The scales of one layer's forward call; draws in training only. @throws {RecordingError} while one is recorded. */
  scales(training: boolean): GuidanceScales {
    checkBoolean('guidance: training', training);
    refuseWhileRecording('no guide can be mixed in: its weight alpha changes from step to step');
    const { alpha } = this;
    const mixed = { guideScale: alpha, factorScale: 1 - alpha };
    if (!training || this.form === 'mixed') return mixed;
    const probability = this.form === 'published' ? alpha : Math.max(alpha, this.minProbability);
    if (this.#generator.next() >= probability) return WITHOUT_GUIDE;
    if (this.form === 'published') return mixed;
    return { guideScale: alpha / probability, factorScale: 1 - alpha / probability };
  }

  /** Where the schedule and its draws stand. */
  state(): GuidanceState {
    return { step: this.#step, generator: this.#generator.state() };
  }

  /** Goes on from what `state()` gave. @throws {OptionError} */
  restore(state: GuidanceState): void {
    if (!isObject(state)) throw new OptionError('guidance: state', 'an object of step and generator', state);
    checkInteger('guidance: state.step', state.step, 0);
    this.#generator = Generator.fromState(state.generator);
    this.#step = state.step;
  }
}
