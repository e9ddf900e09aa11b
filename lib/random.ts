/** Seeded random numbers: Philox4x32-10, the stream of docs/random.md, the same on every machine and thread count. */
import { checkInteger, checkNumber, OptionError, runNative } from './errors';
import { kernels } from './kernels';
import { isObject } from './options';
import { checkedShape } from './sizes';
import { empty, type Shape, type Tensor } from './tensor';

/** Where a generator stands; plain data for checkpoints. */
export interface GeneratorState {
  /** Any whole number from 0 to 2^53 - 1. */
  readonly seed: number;
  /** Counter blocks of four draws used so far. */
  readonly offset: number;
}

const TWO_32 = 2 ** 32;

/**
 * Random numbers that repeat: Philox4x32-10, the same on every machine and thread count (docs/random.md).
 *
 * @example
 * const generator = new Generator(42);
 * const weight = generator.normal([4, 3], 0, 0.02);
 * const state = generator.state(); // plain data; Generator.fromState(state) goes on from here
 */
export class Generator {
  readonly #seedLow: number;
  readonly #seedHigh: number;
  #offset: number;

  /** @throws {OptionError} unless `seed` is a whole number from 0 to 2^53 - 1. */
  constructor(
    /** What it was made with. */
    readonly seed: number,
    offset = 0,
  ) {
    checkInteger('Generator: seed', seed, 0);
    checkInteger('Generator: offset', offset, 0);
    this.#seedLow = seed % TWO_32;
    this.#seedHigh = Math.floor(seed / TWO_32);
    this.#offset = offset;
  }

  /** A generator that goes on where `state` was taken. @throws {OptionError} */
  static fromState(state: GeneratorState): Generator {
    if (!isObject(state)) throw new OptionError('Generator: state', 'an object of seed and offset', state);
    return new Generator(state.seed, state.offset);
  }

  /** Where the stream stands, as plain data. */
  state(): GeneratorState {
    return { seed: this.seed, offset: this.#offset };
  }

  /** Float32 draws from [low, high). */
  uniform(shape: Shape, low = 0, high = 1): Tensor {
    checkNumber('uniform: low', low);
    checkNumber('uniform: high', high);
    return this.#draw('uniform', shape, (y, offset) =>
      kernels.random_uniform({ y, seed_low: this.#seedLow, seed_high: this.#seedHigh, offset, low, high }),
    );
  }

  /** Float32 draws from N(mean, std²). */
  normal(shape: Shape, mean = 0, std = 1): Tensor {
    checkNumber('normal: mean', mean);
    checkNumber('normal: std', std, 0);
    return this.#draw('normal', shape, (y, offset) =>
      kernels.random_normal({ y, seed_low: this.#seedLow, seed_high: this.#seedHigh, offset, mean, std }),
    );
  }

  /** One draw from [0, 1), of 24 bits. */
  next(): number {
    const one = new Float32Array(1);
    this.#fill(one);
    return one[0]!;
  }

  /** A whole number from 0 to bound - 1, of 48 bits. @throws {OptionError} unless 1 <= bound <= 2^32. */
  nextInt(bound: number): number {
    checkInteger('nextInt', bound);
    if (bound > TWO_32) throw new OptionError('nextInt', 'a bound of at most 2^32', bound);
    const two = new Float32Array(2);
    this.#fill(two);
    return Math.floor((two[0]! + two[1]! * 2 ** -24) * bound);
  }

  #fill(y: Float32Array): void {
    const [seed_low, seed_high, offset] = [this.#seedLow, this.#seedHigh, this.#offset++];
    kernels.random_uniform({ y, seed_low, seed_high, offset, low: 0, high: 1 });
  }

  #draw(where: string, shape: Shape, fill: (y: Tensor, offset: number) => void): Tensor {
    const y = empty(checkedShape(`${where}: shape`, shape));
    runNative(() => fill(y, this.#offset));
    this.#offset += Math.ceil(y.size / 4);
    return y;
  }
}
