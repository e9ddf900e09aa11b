/** Text to token ids and back. */
import { checkInteger, IndexError, OptionError } from '../errors';
import { isIterable, isObject } from '../options';
import { checkText } from './utf8';

/** Text to ids and back. */
export interface Tokenizer {
  /** `byte`, or the path of the tokenizer.json it came from. */
  readonly name: string;
  /** Number of ids. */
  readonly vocabSize: number;
  /** The id put between documents; null if the vocabulary has none. */
  readonly endOfText: number | null;
  /** @throws {OptionError} when `text` is not a string, or holds half a surrogate pair. */
  encode(text: string): Uint32Array;
  /**
   * Ids without a text (special tokens, gaps in the vocabulary) give none. @throws {IndexError} for a value that cannot
   * be an id.
   */
  decode(ids: Iterable<number>): string;
}

/** @throws {OptionError} unless it is one of ours, or one that has all that they have. */
export function checkTokenizer(where: string, value: unknown): asserts value is Tokenizer {
  if (!isObject(value) || typeof value.encode !== 'function' || typeof value.decode !== 'function')
    throw new OptionError(where, 'a tokenizer', value);
  checkInteger(`${where}.vocabSize`, value.vocabSize);
}

/** The end of text of the byte tokenizer and of vocabularies that we train. */
export const END_OF_TEXT = '<|endoftext|>';

/** The ids as an array. @throws {OptionError | IndexError} */
export function checkedIds(where: string, ids: Iterable<number>): number[] {
  if (!isIterable(ids)) throw new OptionError(`${where}: ids`, 'ids', ids);
  const all = [...ids];
  const wrong = all.findIndex((id) => !isId(id));
  if (wrong >= 0) checkId(`${where}: id ${wrong}`, all[wrong]);
  return all;
}

const isId = (id: unknown): boolean => Number.isSafeInteger(id) && (id as number) >= 0;

/** @throws {IndexError} */
function checkId(where: string, id: unknown): void {
  if (!isId(id)) throw new IndexError(where, 'a whole number of at least 0', id);
}

/**
 * Every UTF-8 byte is a token, and 256 is the end of text: no training, no unknown character, lossless. As in every
 * vocabulary with special tokens, the text `<|endoftext|>` is that token.
 */
export class ByteTokenizer implements Tokenizer {
  readonly name = 'byte';
  /** Number of ids: 256 bytes and the end of text. */
  readonly vocabSize = 257;
  readonly endOfText = 256;

  /** The UTF-8 bytes of a text. */
  encode(text: string): Uint32Array {
    checkText('encode: text', text);
    const parts = text.split(END_OF_TEXT).map((part) => Buffer.from(part, 'utf8'));
    const length = parts.reduce((sum, part) => sum + part.length, parts.length - 1);
    const ids = new Uint32Array(length).fill(this.endOfText);
    let at = 0;
    for (const part of parts) {
      ids.set(part, at);
      at += part.length + 1;
    }
    return ids;
  }

  decode(ids: Iterable<number>): string {
    return Buffer.from(checkedIds('decode', ids).filter((id) => id < 256)).toString('utf8');
  }
}

/** Turns ids into text as they come, and never shows half a character. */
export class StreamingDecoder {
  readonly #tokenizer: Tokenizer;
  /** The ids last shown, then those still to be shown. */
  #ids: number[];
  /** Text of the ids last shown. */
  #before: string;
  #shown: number;

  /**
   * @param context earlier ids, such as a prompt. Their text is not shown, but it decides about spaces:
   * SentencePiece-style tokenizers drop the first one of a text.
   */
  constructor(tokenizer: Tokenizer, context: Iterable<number> = []) {
    checkTokenizer('StreamingDecoder: tokenizer', tokenizer);
    this.#tokenizer = tokenizer;
    this.#ids = checkedIds('StreamingDecoder: context', context);
    this.#shown = this.#ids.length;
    this.#before = tokenizer.decode(this.#ids);
  }

  /** The text that `id` completes; empty while a character is unfinished. */
  push(id: number): string {
    checkId('StreamingDecoder.push: id', id);
    this.#ids.push(id);
    const text = this.#tokenizer.decode(this.#ids);
    return text.endsWith('\uFFFD') ? '' : this.#show(text);
  }

  /** The rest at the end, with unfinished characters replaced. */
  end(): string {
    return this.#show(this.#tokenizer.decode(this.#ids));
  }

  #show(text: string): string {
    const fresh = text.slice(this.#before.length);
    if (fresh === '') return '';
    this.#ids = this.#ids.slice(this.#shown);
    this.#shown = this.#ids.length;
    this.#before = this.#tokenizer.decode(this.#ids);
    return fresh;
  }
}
