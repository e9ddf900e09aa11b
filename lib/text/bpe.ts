/**
 * A tokenizer.json: byte-pair encoding, and WordPiece. Hugging Face's tokenizers library merges the symbols of a word
 * and decodes. The steps before that are ours if the library (0.2.0) is slow or differs from the published tokenizers.
 */
import { checkPath, FormatError, OptionError } from '../errors';
import { addedTokenSplitter, type Section } from './added_tokens';
import { type LibraryDecoder, type LibraryTokenizer, library, type Part } from './library';
import { createNormalizer, type Normalizer } from './normalizer';
import { preTokenizers } from './pre_tokenizer';
import { checkedIds, END_OF_TEXT, type Tokenizer } from './tokenizer';
import { checkTokenizerJson, type TokenizerJson } from './tokenizer_json';
import { checkText, readText } from './utf8';
import { WordEncoder } from './words';

const ENDS_OF_TEXT = [END_OF_TEXT, '</s>', '<|end_of_text|>', '<eos>'];

/** The library's ByteFallback (0.2.0) decodes a byte order mark to nothing. */
function keepByteOrderMarks(decoder: LibraryDecoder | null): void {
  if (decoder?.text_decoder) decoder.text_decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for (const part of decoder?.decoders ?? []) keepByteOrderMarks(part);
}

/** The library's Metaspace (0.2.0) drops the first space even if none was added before the text. */
function keepFirstSpace(decoder: Part | null): Part | null {
  if (decoder?.type === 'Sequence')
    return { ...decoder, decoders: (decoder.decoders as Part[]).map((part) => keepFirstSpace(part)) };
  const never = decoder?.prepend_scheme === 'never' || decoder?.add_prefix_space === false;
  return decoder?.type === 'Metaspace' && never
    ? { type: 'Replace', pattern: { String: decoder.replacement ?? '▁' }, content: ' ' }
    : decoder;
}

/**
 * A tokenizer.json; `loadTokenizer` reads one.
 *
 * @example
 * const tokenizer = loadTokenizer('tokenizer.json');
 * tokenizer.decode(tokenizer.encode('Once upon a time'));
 */
export class BpeTokenizer implements Tokenizer {
  /** The highest id, plus one. */
  readonly vocabSize: number;
  /** Id of the end of text; null where the tokenizer has none. */
  readonly endOfText: number | null;
  readonly #library: LibraryTokenizer;
  readonly #splitRaw: (text: string) => Iterable<Section>;
  readonly #normalize: Normalizer;
  readonly #splitNormalized: (text: string) => Iterable<Section>;
  readonly #words: WordEncoder;

  /** `json`: a tokenizer.json. @throws {FormatError} that names what is wrong in it, or unknown here. */
  constructor(
    /** Path of its file. */
    readonly name: string,
    json: unknown,
  ) {
    if (typeof name !== 'string') throw new OptionError('BpeTokenizer: name', 'text', name);
    const checked = checkTokenizerJson(name, json);
    const { model, added_tokens: added } = checked;
    try {
      this.#library = createLibraryTokenizer(checked);
      this.#normalize = createNormalizer(checked.normalizer);
      const isNormalized = ({ normalized, special }: (typeof added)[number]) => normalized ?? !special;
      this.#splitRaw = addedTokenSplitter(added.filter((token) => !isNormalized(token)));
      this.#splitNormalized = addedTokenSplitter(added.filter(isNormalized), this.#normalize);
      this.#words = new WordEncoder(this.#library, model, preTokenizers(checked.pre_tokenizer));
    } catch (error) {
      throw new FormatError(name, (error as Error).message);
    }
    this.vocabSize = checked.vocabSize;
    this.endOfText = added.find(({ content }) => ENDS_OF_TEXT.includes(content))?.id ?? null;
  }

  /** Ids of a text, without special tokens around it. */
  encode(text: string): Uint32Array {
    checkText('encode: text', text);
    const ids: number[] = [];
    for (const section of this.#splitRaw(text)) {
      if ('id' in section) ids.push(section.id);
      else this.#encodeNormalized(ids, this.#normalize(section.text), section.start === 0);
    }
    return Uint32Array.from(ids);
  }

  #encodeNormalized(ids: number[], text: string, atStart: boolean): void {
    for (const section of this.#splitNormalized(text)) {
      if ('id' in section) ids.push(section.id);
      else this.#words.append(ids, section.text, atStart && section.start === 0);
    }
  }

  decode(ids: Iterable<number>): string {
    const known = checkedIds('decode', ids).filter((id) => this.#library.id_to_token(id) !== undefined);
    // The library refuses to decode an empty list.
    if (known.length === 0) return '';
    return this.#library.decode(known, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }
}

function createLibraryTokenizer({ model, added_tokens, decoder }: TokenizerJson): LibraryTokenizer {
  const { Tokenizer } = library();
  const none = { normalizer: null, pre_tokenizer: null, post_processor: null };
  const created = new Tokenizer({ ...none, model, added_tokens, decoder: keepFirstSpace(decoder ?? null) }, {});
  keepByteOrderMarks(created.decoder);
  // The library (0.2.0) would let words merge into them.
  for (const { content } of added_tokens)
    if (!Object.hasOwn(model.vocab, content)) created.model.tokens_to_ids.delete(content);
  return created;
}

/**
 * Reads a tokenizer.json. @throws {FileError} @throws {FormatError} for another kind of file, or an unknown kind of
 * tokenizer.
 */
export function loadTokenizer(path: string): BpeTokenizer {
  checkPath('loadTokenizer: path', path);
  const text = readText(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new FormatError(path, 'it is not JSON');
  }
  return new BpeTokenizer(path, json);
}
