/** Words to ids: each word once, long ones in pieces. */
import type { LibraryTokenizer } from './library';
import { inSequence, type PreTokenizer } from './pre_tokenizer';
import type { TokenizerJson } from './tokenizer_json';

/**
 * Byte-pair encoding never joins two characters that are not neighbours in any token of the vocabulary. So a long text,
 * or one whose tokenizer does not cut words (SentencePiece's), can be cut between such neighbours and encoded in short
 * pieces.
 */
class CutPoints {
  readonly #follows = new Map<number, Set<number>>();

  /** `fusesUnknown`: whether unknown characters in a row are one token; a cut between them would make two. */
  constructor(
    readonly vocab: Readonly<Record<string, number>>,
    readonly fusesUnknown: boolean,
  ) {
    for (const token in vocab) {
      let before = -1;
      for (const character of token) {
        const code = character.codePointAt(0)!;
        const after = this.#follows.get(before);
        if (after !== undefined) after.add(code);
        else if (before >= 0) this.#follows.set(before, new Set([code]));
        before = code;
      }
    }
  }

  *pieces(text: string): Generator<string> {
    let start = 0;
    let before = -1;
    for (let at = 0; at < text.length; ) {
      const code = text.codePointAt(at)!;
      const size = code > 0xffff ? 2 : 1;
      const free = before >= 0 && !this.#follows.get(before)?.has(code);
      if (free && (!this.fusesUnknown || Object.hasOwn(this.vocab, text.slice(at, at + size)))) {
        yield text.slice(start, at);
        start = at;
      }
      before = code;
      at += size;
    }
    if (start < text.length) yield text.slice(start);
  }
}

type Ids = readonly number[];

/** With more words than this the memory starts anew. */
const MAX_REMEMBERED = 200_000;
/** Longer words are cut and not remembered. */
const LONG_WORD = 64;

/** Short words are encoded once: a corpus repeats most of them. */
function remembered(encode: (word: string) => Ids): (word: string) => Ids {
  const known = new Map<string, Ids>();
  return (word) => {
    if (word.length > LONG_WORD) return encode(word);
    let ids = known.get(word);
    if (ids === undefined) {
      ids = encode(word);
      if (known.size >= MAX_REMEMBERED) known.clear();
      known.set(word, ids);
    }
    return ids;
  };
}

/**
 * Encodes text with the library's model. The model's own memory (0.2.0: 10 000 words, kept in the order of use) is too
 * slow.
 */
export class WordEncoder {
  /** The first step that cuts words, and the other steps: their result is remembered for each word. */
  readonly #cut: PreTokenizer;
  readonly #symbols: PreTokenizer;
  readonly #cutPoints: () => CutPoints | null;
  readonly #word: (word: string) => Ids;
  readonly #piece: (piece: string) => Ids;

  constructor({ model: encode }: LibraryTokenizer, model: TokenizerJson['model'], steps: readonly PreTokenizer[]) {
    const [cut = (text: string) => [text], ...others] = steps;
    const symbols = inSequence(others);
    this.#cut = cut;
    this.#symbols = symbols;
    const cuts = model.type === 'BPE' && !model.end_of_word_suffix;
    let points: CutPoints | null = null;
    // Made for the first long word: it takes a while for a large vocabulary.
    this.#cutPoints = () => {
      if (cuts) points ??= new CutPoints(model.vocab, Boolean(model.fuse_unk && model.unk_token));
      return points;
    };
    const idOf = (token: string) => encode.tokens_to_ids.get(token) ?? encode.unk_token_id!;
    this.#piece = remembered((piece) => encode([piece]).map(idOf));
    this.#word = remembered((word) => [...symbols(word, false)].flatMap((part) => [...this.#piece(part)]));
  }

  /** Appends the ids of a text. `atStart`: whether it is the start of the whole text. */
  append(ids: number[], text: string, atStart: boolean): void {
    let first = atStart;
    for (const word of this.#cut(text, atStart)) {
      if (!first && word.length <= LONG_WORD) for (const id of this.#word(word)) ids.push(id);
      else for (const part of this.#symbols(word, first && text.startsWith(word))) this.#appendPart(ids, part);
      first = false;
    }
  }

  #appendPart(ids: number[], part: string): void {
    const points = part.length > LONG_WORD ? this.#cutPoints() : null;
    for (const piece of points?.pieces(part) ?? [part]) for (const id of this.#piece(piece)) ids.push(id);
  }
}
