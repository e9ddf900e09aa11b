/** Byte-pair encoding by a tokenizer.json, through Hugging Face's tokenizers library. */
import { FormatError } from '../errors';
import { readJson } from '../io/files';
import type { Tokenizer } from './tokenizer';

/** The part of the library that we use; its own declarations are for ES modules only. */
interface HuggingFaceTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
}

interface TokenizerJson {
  readonly model: { readonly type?: string; readonly vocab?: Readonly<Record<string, number>> };
  readonly added_tokens?: readonly { readonly id: number; readonly content: string; readonly special?: boolean }[];
  readonly normalizer?: unknown;
  readonly pre_tokenizer?: {
    readonly type?: string;
    readonly add_prefix_space?: boolean;
    readonly use_regex?: boolean;
  };
}

const END_OF_TEXT = ['<|endoftext|>', '</s>', '<|end_of_text|>', '<eos>'];

/** How byte-level tokenizers cut text into words before merging (Radford et al. 2019). */
export const WORD = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Words are encoded once: a corpus repeats most of them. Beyond this many the memory starts anew. */
const MAX_CACHED_WORDS = 200_000;

export class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly endOfText: number | null;
  readonly #library: HuggingFaceTokenizer;
  /** Whether words can be encoded one by one with the same result. */
  readonly #byWord: boolean;
  readonly #words = new Map<string, readonly number[]>();

  constructor(
    readonly name: string,
    json: TokenizerJson,
  ) {
    const { Tokenizer } = require('@huggingface/tokenizers') as {
      Tokenizer: new (json: object, config: object) => HuggingFaceTokenizer;
    };
    const { vocab = {} } = json.model;
    const added = json.added_tokens ?? [];
    const ids = [...Object.values(vocab), ...added.map(({ id }) => id)];
    if (ids.length === 0) throw new FormatError(name, 'its vocabulary is empty');
    this.#library = new Tokenizer(json, {});
    this.vocabSize = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
    this.endOfText = added.find(({ content }) => END_OF_TEXT.includes(content))?.id ?? null;
    const { type, add_prefix_space, use_regex } = json.pre_tokenizer ?? {};
    this.#byWord = type === 'ByteLevel' && add_prefix_space === false && use_regex !== false && !json.normalizer;
  }

  encode(text: string): Uint32Array {
    if (!this.#byWord || text.includes('<|')) return Uint32Array.from(this.#encodeWhole(text));
    const ids: number[] = [];
    for (const [word] of text.matchAll(WORD)) {
      let known = this.#words.get(word);
      if (known === undefined) {
        known = this.#encodeWhole(word);
        if (this.#words.size >= MAX_CACHED_WORDS) this.#words.clear();
        this.#words.set(word, known);
      }
      for (const id of known) ids.push(id);
    }
    return Uint32Array.from(ids);
  }

  #encodeWhole(text: string): number[] {
    return this.#library.encode(text, { add_special_tokens: false }).ids;
  }

  decode(ids: Iterable<number>): string {
    const all = [...ids];
    // The library refuses to decode nothing.
    if (all.length === 0) return '';
    return this.#library.decode(all, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }
}

/** Reads a tokenizer.json. @throws {FileError} @throws {FormatError} when it is none, or of a kind the library refuses. */
export function loadTokenizer(path: string): BpeTokenizer {
  const json = readJson(path) as TokenizerJson | null;
  if (typeof json?.model !== 'object' || json.model === null)
    throw new FormatError(path, 'it is no tokenizer.json: it has no model');
  try {
    return new BpeTokenizer(path, json);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(path, `the tokenizers library refuses it: ${(error as Error).message}`);
  }
}
