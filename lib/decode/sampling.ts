/** The next token from logits: penalty, temperature, then the filters top-k, min-p and top-p, then one draw. */

import { classOf, dtypeOf } from '../dtype';
import { checkInteger, checkNumber, DTypeError, OptionError, ShapeError } from '../errors';
import { checkKeys, type OptionNames } from '../options';
import { Generator } from '../random';
import { checkedIds } from '../text/tokenizer';

/** How a token is chosen from its logits. */
export interface SamplingOptions {
  /** 0 always takes the likeliest token (greedy). Default: 1. */
  readonly temperature?: number;
  /** Draws among this many likeliest tokens; 0: among all. Default: 0. */
  readonly topK?: number;
  /** Draws among the likeliest tokens that together have this probability. Default: 1. */
  readonly topP?: number;
  /** Draws among tokens whose probability is at least this part of the likeliest one's. Default: 0. */
  readonly minP?: number;
  /** Positive logits of tokens seen before are divided by it, negative ones multiplied. Default: 1. */
  readonly repetitionPenalty?: number;
  /** Seed of the draws (docs/random.md). Default: 0. */
  readonly seed?: number;
}

export const SAMPLING_OPTIONS: OptionNames<SamplingOptions> = {
  temperature: 0,
  topK: 0,
  topP: 0,
  minP: 0,
  repetitionPenalty: 0,
  seed: 0,
};

/** A token that may be drawn, and its probability relative to the likeliest. */
interface Candidate {
  readonly id: number;
  readonly weight: number;
}

/** Likeliest first; equal ones by id, so that every machine draws the same. */
const byWeight = (a: Candidate, b: Candidate): number => b.weight - a.weight || a.id - b.id;

const total = (candidates: readonly Candidate[]): number => candidates.reduce((sum, { weight }) => sum + weight, 0);

/** The smallest number of likeliest candidates that have the part `p` of all. */
function nucleus(candidates: readonly Candidate[], p: number): Candidate[] {
  const all = total(candidates);
  // Candidates below this weight have less than 1 − p together: sorting the others is enough.
  const least = ((1 - p) * all) / candidates.length;
  const sorted = candidates.filter(({ weight }) => weight >= least).sort(byWeight);
  let sum = 0;
  const count = sorted.findIndex(({ weight }) => {
    sum += weight;
    return sum >= p * all;
  });
  return count < 0 ? sorted : sorted.slice(0, count + 1);
}

/** The weight of the k-th likeliest of more than k. */
function kthWeight(candidates: readonly Candidate[], k: number): number {
  return Float64Array.from(candidates, ({ weight }) => weight).sort()[candidates.length - k]!;
}

function likeliest(candidates: readonly Candidate[], k: number): Candidate[] {
  const least = kthWeight(candidates, k);
  return candidates
    .filter(({ weight }) => weight >= least)
    .sort(byWeight)
    .slice(0, k);
}

/** Of logits that are NaN, token 0 would be the largest for ever. @throws {OptionError} */
function checkLogits(logits: Float32Array): void {
  let most = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (Number.isNaN(logit)) throw new OptionError('Sampler.next: logits', 'numbers', `NaN of token ${id}`);
    if (logit > most) most = logit;
  }
  if (!Number.isFinite(most)) throw new OptionError('Sampler.next: logits', 'a largest that is finite', most);
}

function argmax(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/**
 * Chooses tokens from logits, for one sequence: it remembers what the sequence holds for the repetition penalty.
 *
 * @example
 * const sampler = new Sampler({ temperature: 0.8, topP: 0.95, seed: 7 });
 * sampler.see(prompt);
 * const id = sampler.next(logits);
 */
export class Sampler {
  readonly #temperature: number;
  readonly #topK: number;
  readonly #topP: number;
  readonly #minP: number;
  readonly #penalty: number;
  readonly #generator: Generator;
  readonly #seen = new Set<number>();

  /** @throws {OptionError} */
  constructor(options: SamplingOptions = {}) {
    checkKeys('Sampler', options, SAMPLING_OPTIONS);
    const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
    checkNumber('generate: temperature', temperature, 0);
    checkInteger('generate: topK', topK, 0);
    checkNumber('generate: topP', topP, 0, 1);
    if (topP === 0) throw new OptionError('generate: topP', 'more than 0', topP);
    checkNumber('generate: minP', minP, 0, 1);
    checkNumber('generate: repetitionPenalty', repetitionPenalty, Number.MIN_VALUE);
    this.#temperature = temperature;
    this.#topK = topK;
    this.#topP = topP;
    this.#minP = minP;
    this.#penalty = repetitionPenalty;
    this.#generator = new Generator(seed);
  }

  /** Tokens that the repetition penalty counts as seen. */
  see(ids: Iterable<number>): void {
    const all = checkedIds('Sampler.see', ids);
    for (const id of all) this.#seen.add(id);
  }

  /**
   * Draws a token and counts it as seen. A token of logit -Infinity is never drawn. @throws {DTypeError | ShapeError} unless
   * there are logits. @throws {OptionError} unless they are numbers of which the largest is finite.
   */
  next(logits: Float32Array): number {
    if (dtypeOf(logits) !== 'float32') throw new DTypeError('Sampler.next: logits', 'a Float32Array', classOf(logits));
    if (logits.length === 0) throw new ShapeError('Sampler.next: logits', 'at least one', 'none');
    checkLogits(logits);
    const id = this.#draw(this.#penalized(logits));
    this.#seen.add(id);
    return id;
  }

  #penalized(logits: Float32Array): Float32Array {
    if (this.#penalty === 1) return logits;
    const changed = logits.slice();
    for (const id of this.#seen)
      if (id < changed.length)
        changed[id] = changed[id]! > 0 ? changed[id]! / this.#penalty : changed[id]! * this.#penalty;
    return changed;
  }

  #draw(logits: Float32Array): number {
    const best = argmax(logits);
    if (this.#temperature === 0) return best;
    const most = logits[best]!;
    let candidates: Candidate[] = [];
    for (let id = 0; id < logits.length; id++) {
      const weight = Math.exp((logits[id]! - most) / this.#temperature);
      if (weight >= this.#minP && weight > 0) candidates.push({ id, weight });
    }
    if (this.#topK > 0 && this.#topK < candidates.length) candidates = likeliest(candidates, this.#topK);
    if (this.#topP < 1) candidates = nucleus(candidates, this.#topP);
    let left = this.#generator.next() * total(candidates);
    for (const { id, weight } of candidates) {
      left -= weight;
      if (left < 0) return id;
    }
    return candidates[candidates.length - 1]?.id ?? best;
  }
}
