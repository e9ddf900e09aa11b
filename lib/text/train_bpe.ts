/**
 * Trains a byte-level BPE vocabulary (Sennrich et al. 2016; Radford et al. 2019) as a tokenizer.json, because no
 * library on npm trains one. Encoding and decoding use the library.
 */
import { checkInteger, OptionError } from '../errors';
import { checkKeys, isIterable } from '../options';
import { WORD } from './pre_tokenizer';
import { END_OF_TEXT } from './tokenizer';
import { checkText } from './utf8';

/** Options of `trainBpe`. */
export interface TrainBpeOptions {
  /** Size of the vocabulary, including the 256 bytes and the end of text; at least 257. */
  readonly vocabSize: number;
  /** Pairs rarer than this are not merged. Default: 2. */
  readonly minFrequency?: number;
}

/** The printable character that stands for each byte in a byte-level vocabulary. */
function byteCharacters(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : next++));
}

interface Word {
  readonly count: number;
  ids: number[];
}

/** Pairs of neighbours as one number: ids stay below 2^20. */
const SHIFT = 2 ** 20;

class PairCounts {
  readonly counts = new Map<number, number>();
  readonly #where = new Map<number, Set<number>>();

  add(pair: number, count: number, word: number): void {
    this.counts.set(pair, (this.counts.get(pair) ?? 0) + count);
    const words = this.#where.get(pair);
    if (words === undefined) this.#where.set(pair, new Set([word]));
    else words.add(word);
  }

  subtract(pair: number, count: number): void {
    const left = (this.counts.get(pair) ?? 0) - count;
    if (left > 0) this.counts.set(pair, left);
    else this.counts.delete(pair);
  }

  /** Words that may hold the pair; afterwards the pair is forgotten. */
  take(pair: number): Set<number> {
    const words = this.#where.get(pair) ?? new Set();
    this.#where.delete(pair);
    this.counts.delete(pair);
    return words;
  }

  /** The most frequent pair; if several are equal, the one with the smallest ids, so that training is deterministic. */
  best(): { pair: number; count: number } | null {
    let best: { pair: number; count: number } | null = null;
    for (const [pair, count] of this.counts)
      if (best === null || count > best.count || (count === best.count && pair < best.pair)) best = { pair, count };
    return best;
  }
}

function countWords(texts: Iterable<string>): Word[] {
  const counts = new Map<string, number>();
  for (const text of texts) {
    checkText('trainBpe: text', text);
    for (const [word] of text.matchAll(WORD)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].map(([word, count]) => ({ count, ids: [...Buffer.from(word, 'utf8')] }));
}

function merge(word: Word, index: number, pair: number, id: number, pairs: PairCounts): void {
  const [left, right] = [Math.floor(pair / SHIFT), pair % SHIFT];
  const { ids, count } = word;
  const merged: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      merged.push(id);
      i++;
    } else merged.push(ids[i]!);
  }
  if (merged.length === ids.length) return;
  for (let i = 0; i + 1 < ids.length; i++) {
    const old = ids[i]! * SHIFT + ids[i + 1]!;
    if (old !== pair) pairs.subtract(old, count);
  }
  for (let i = 0; i + 1 < merged.length; i++) pairs.add(merged[i]! * SHIFT + merged[i + 1]!, count, index);
  word.ids = merged;
}

/** @returns a tokenizer.json, to be written to a file and read by `loadTokenizer`. @throws {OptionError} */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions): object {
  checkKeys('trainBpe', options, { vocabSize: 0, minFrequency: 0 });
  const { vocabSize, minFrequency = 2 } = options;
  checkInteger('trainBpe: vocabSize', vocabSize, 257);
  checkInteger('trainBpe: minFrequency', minFrequency);
  // Text itself iterates, too: its characters would be the texts.
  if (!isIterable(texts)) throw new OptionError('trainBpe: texts', 'texts, in an array or another iterable', texts);
  if (vocabSize > SHIFT) throw new OptionError('trainBpe: vocabSize', `at most ${SHIFT}`, vocabSize);
  const words = countWords(texts);
  if (words.length === 0) throw new OptionError('trainBpe: texts', 'some text', 'none');
  const pairs = new PairCounts();
  words.forEach(({ ids, count }, index) => {
    for (let i = 0; i + 1 < ids.length; i++) pairs.add(ids[i]! * SHIFT + ids[i + 1]!, count, index);
  });

  const tokens = byteCharacters();
  const merges: [string, string][] = [];
  while (tokens.length < vocabSize - 1) {
    const best = pairs.best();
    if (best === null || best.count < minFrequency) break;
    const { pair } = best;
    const [left, right] = [tokens[Math.floor(pair / SHIFT)]!, tokens[pair % SHIFT]!];
    const id = tokens.push(left + right) - 1;
    merges.push([left, right]);
    for (const index of pairs.take(pair)) merge(words[index]!, index, pair, id, pairs);
  }
  return tokenizerJson(tokens, merges);
}

/** The tokenizer.json of ByteTokenizer: 256 bytes, no merges, and the end of text. */
export const byteTokenizerJson = (): object => tokenizerJson(byteCharacters(), []);

function tokenizerJson(tokens: readonly string[], merges: readonly [string, string][]): object {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: tokens.length,
        content: END_OF_TEXT,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
