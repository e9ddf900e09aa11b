/** Deterministic numbers for tests, independent of the library's own generator (mulberry32). */
export class TestRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** Values that float32 holds exactly, from [low, high). */
  array(length: number, low = -1, high = 1): Float32Array {
    return Float32Array.from({ length }, () => low + this.next() * (high - low));
  }
}
