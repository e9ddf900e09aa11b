/** The parts that we use of Hugging Face's tokenizers library; its own declarations are for ES modules only. */

/** A part of a tokenizer.json: an object with a type. */
export type Part = { readonly type?: string } & Readonly<Record<string, unknown>>;

export interface LibraryDecoder {
  readonly decoders?: readonly LibraryDecoder[];
  text_decoder?: InstanceType<typeof TextDecoder>;
}

export interface LibraryTokenizer {
  /** Words to the texts of tokens. */
  readonly model: ((words: readonly string[]) => string[]) & {
    readonly tokens_to_ids: Map<string, number>;
    readonly unk_token_id: number | undefined;
  };
  readonly decoder: LibraryDecoder | null;
  id_to_token(id: number): string | undefined;
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
}

interface Library {
  readonly Tokenizer: new (json: object, config: object) => LibraryTokenizer;
  readonly SplitPreTokenizer: new (part: object) => { readonly pattern: RegExp };
  readonly ByteLevelPreTokenizer: new (part: object) => { pre_tokenize_text(text: string): string[] };
}

/** Loaded only when a tokenizer.json is read. */
export const library = (): Library => require('@huggingface/tokenizers') as Library;

/**
 * A `pattern` of a tokenizer.json, `{ String }` or `{ Regex }`. The library (0.2.0) turns Oniguruma's syntax and its classes
 * (`\s`, `\w`, `\d`) into those of JavaScript.
 */
export function compilePattern(pattern: unknown): RegExp {
  return new (library().SplitPreTokenizer)({ pattern }).pattern;
}
