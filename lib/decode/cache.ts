/** Keys and values of earlier tokens, in pages: a sequence grows by whole pages, and nothing is ever copied. */
import type { Handle } from '../../types/native';
import type { Device } from '../device';
import { ELEMENTS, type ElementType } from '../dtype';
import { checkAlive, checkInstance, checkInteger, OptionError } from '../errors';
import { Storage } from '../storage';

/** A whole number of vectors of every instruction set; 32 tokens are 2.4 MB of float32 at 12 layers of 768. */
export const PAGE_TOKENS = 32;

/** The type of cached keys and values, which are rounded once, as they are put into a page. */
export type CacheDType = Extract<ElementType, 'float32' | 'bfloat16'>;
export const CACHE_DTYPES: readonly CacheDType[] = ['float32', 'bfloat16'];

export class PagePool {
  readonly #elements: number;
  readonly #free: Storage[] = [];
  #pages = 0;
  #disposed = false;

  /** @param elementsPerToken keys and values of all layers. */
  constructor(
    elementsPerToken: number,
    readonly dtype: CacheDType,
    readonly device: Device,
    /** Most tokens of a sequence. */
    readonly context: number,
  ) {
    this.#elements = elementsPerToken * PAGE_TOKENS;
  }

  /** Pages in use and kept for reuse. */
  get pages(): number {
    return this.#pages;
  }

  get bytes(): number {
    return this.#pages * this.#elements * ELEMENTS[this.dtype].bytes;
  }

  /** @throws {OutOfMemoryError} */
  take(): Storage {
    const free = this.#free.pop();
    if (free) return free;
    const page = new Storage(this.#elements, this.dtype, this.device);
    this.#pages++;
    return page;
  }

  give(pages: readonly Storage[]): void {
    for (const page of pages) this.#free.push(page);
    if (this.#disposed) this.dispose();
  }

  /** Frees the pages; pages of sequences that still exist are freed when those give them back. */
  dispose(): void {
    this.#disposed = true;
    for (const page of this.#free) page.dispose();
    this.#pages -= this.#free.length;
    this.#free.length = 0;
  }
}

/** A text in progress: how many of its tokens the cache has, and where. */
export class DecodeSequence implements Disposable {
  readonly #pool: PagePool;
  readonly #pages: Storage[] = [];
  #length = 0;
  #disposed = false;
  /** Whether a step is in progress: another one would write to the same places of the cache. */
  busy = false;

  /** `decoder.sequence()` makes one. */
  constructor(pool: PagePool) {
    checkInstance('DecodeSequence: pool', pool, PagePool);
    this.#pool = pool;
  }

  /** Tokens in the cache. */
  get length(): number {
    return this.#length;
  }

  /** Whether its pages were given back. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether the sequence belongs to the decoder with this pool. */
  isOf(pool: PagePool): boolean {
    checkAlive('sequence: isOf', this.#disposed);
    return this.#pool === pool;
  }

  /**
   * Handles of the pages of its tokens and `count` more, after making room for them: no others, which a longer text
   * before `rewind` or a step that failed may have left. @throws {OptionError | OutOfMemoryError}
   */
  reserve(count: number): Handle[] {
    checkAlive('sequence: reserve', this.#disposed);
    checkInteger('sequence: reserve', count, 0);
    const most = this.#pool.context - this.#length;
    if (count > most) throw new OptionError('sequence: reserve', `at most ${most} more tokens`, count);
    const needed = Math.ceil((this.#length + count) / PAGE_TOKENS);
    while (this.#pages.length < needed) this.#pages.push(this.#pool.take());
    return this.#pages.slice(0, needed).map((page) => page.handle);
  }

  /** Counts tokens that a step has put into the cache. @throws {OptionError} for more than there is room for. */
  advance(count: number): void {
    checkAlive('sequence: advance', this.#disposed);
    checkInteger('sequence: advance', count, 0);
    const most = this.#pages.length * PAGE_TOKENS - this.#length;
    if (count > most)
      throw new OptionError('sequence: advance', `at most ${most} tokens, for which there is room`, count);
    this.#length += count;
  }

  /** Forgets the tokens from `length` on, so that the text can go on differently from there. @throws {OptionError} */
  rewind(length: number): void {
    checkAlive('sequence: rewind', this.#disposed);
    checkInteger('sequence: rewind', length, 0);
    if (this.busy) throw new OptionError('sequence: rewind', 'no step in progress', 'one');
    if (length > this.#length) throw new OptionError('sequence: rewind', `at most ${this.#length} tokens`, length);
    this.#length = length;
  }

  /** Gives the pages back. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#pool.give(this.#pages);
    this.#pages.length = 0;
  }

  /** The same, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
