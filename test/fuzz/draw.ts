/** Programs as plain numbers, so that fast-check can shrink them and a file or a command line can hold them. */
import fc from 'fast-check';

/** One call: which, by its place in the list of all calls, and what it is called with. */
export type Step = readonly [call: number, choices: readonly number[]];
export type Program = readonly Step[];

/** Choices of one call; further ones are 0, which is always the plainest. */
const MOST_CHOICES = 18;
const MOST_STEPS = 24;

export const programs = (calls: number): fc.Arbitrary<Program> =>
  fc.array(
    fc.tuple(
      fc.nat({ max: calls - 1 }),
      fc.array(fc.nat({ max: 0xffff }), { minLength: MOST_CHOICES, maxLength: MOST_CHOICES }),
    ),
    { minLength: 1, maxLength: MOST_STEPS, size: 'max' },
  );

/** Turns the choices of a call into values. */
export class Draw {
  readonly #choices: readonly number[];
  #at = 0;

  constructor(choices: readonly number[]) {
    this.#choices = choices;
  }

  /** A whole number from `low` to `high`; `low` for a choice of 0. */
  int(low: number, high: number): number {
    return low + ((this.#choices[this.#at++] ?? 0) % (high - low + 1));
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error('nothing to pick from');
    return list[this.int(0, list.length - 1)]!;
  }

  /** True once in `times`, and never for a choice of 0. */
  once(times: number): boolean {
    return this.int(0, times - 1) === times - 1;
  }

  /** A size of a dimension: often small, sometimes none, a prime, or beyond a vector. */
  size(): number {
    return this.once(3) ? this.pick([0, 1, 7, 13, 17, 31, 64, 97, 257]) : this.int(1, 6);
  }

  /** At least 1. */
  width(): number {
    return Math.max(1, this.size());
  }

  shape(low = 0, high = 4): number[] {
    const sizes = Array.from({ length: this.int(low, high) }, () => this.size());
    // A few hundred elements: more says no more, and takes longer.
    for (let i = 0; sizes.reduce((n, s) => n * s, 1) > 600; i++) sizes[i % sizes.length] = 2;
    return sizes;
  }
}
