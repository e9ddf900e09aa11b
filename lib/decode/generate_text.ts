/** Text that follows a prompt, piece by piece. */
import { checkInstance, OptionError } from '../errors';
import { checkKeys } from '../options';
import { StreamingDecoder, type Tokenizer } from '../text';
import { checkTokenizer } from '../text/tokenizer';
import { Decoder } from './decoder';
import { GENERATE_OPTIONS, type GenerateOptions, generate } from './generate';

/** Options of `generateText`. */
export interface GenerateTextOptions extends GenerateOptions {
  /** Generation ends before the first of these texts. */
  readonly stop?: readonly string[];
}

/** Passes text on as soon as it can no longer be the beginning of a stop string. */
export class StopFilter {
  readonly #stops: readonly string[];
  #held = '';
  #stopped = false;

  /** @throws {OptionError} for an empty stop string. */
  constructor(stops: readonly string[]) {
    if (!Array.isArray(stops) || stops.some((stop) => typeof stop !== 'string' || stop === ''))
      throw new OptionError('generate: stop', 'strings that are not empty', stops);
    this.#stops = stops;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** What may be shown of the text so far. */
  push(text: string): string {
    if (this.#stopped) return '';
    this.#held += text;
    const first = this.#stops.reduce((at, stop) => {
      const found = this.#held.indexOf(stop);
      return found >= 0 ? Math.min(at, found) : at;
    }, Number.POSITIVE_INFINITY);
    this.#stopped = first < this.#held.length;
    const end = this.#stopped ? first : this.#held.length - this.#openLength();
    const shown = this.#held.slice(0, end);
    this.#held = this.#stopped ? '' : this.#held.slice(end);
    return shown;
  }

  /** The text that was held back, at the end. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #openLength(): number {
    const longest = this.#stops.reduce((length, stop) => Math.max(length, stop.length - 1), 0);
    for (let length = Math.min(longest, this.#held.length); length > 0; length--)
      if (this.#stops.some((stop) => stop.startsWith(this.#held.slice(-length)))) return length;
    return 0;
  }
}

/**
 * Pieces of the text that follows `prompt`. It also ends at the tokenizer's end of text.
 * @throws what `generate` throws. @throws {OptionError} for an empty stop string.
 */
export async function* generateText(
  decoder: Decoder,
  tokenizer: Tokenizer,
  prompt: string,
  options: GenerateTextOptions = {},
): AsyncGenerator<string, void, void> {
  checkKeys('generateText', options, { ...GENERATE_OPTIONS, stop: 0 });
  checkInstance('generateText: decoder', decoder, Decoder);
  checkTokenizer('generateText: tokenizer', tokenizer);
  const { stop = [], stopId = tokenizer.endOfText, ...rest } = options;
  const filter = new StopFilter(stop);
  const promptIds = tokenizer.encode(prompt);
  const text = new StreamingDecoder(tokenizer, promptIds);
  const ids = generate(decoder, promptIds, { ...rest, stopId });
  for await (const id of ids) {
    const shown = filter.push(text.push(id));
    if (shown !== '') yield shown;
    if (filter.stopped) return;
  }
  const last = filter.push(text.end()) + filter.end();
  if (last !== '') yield last;
}
