/** The tokenizer of a model as the files that Hugging Face's libraries read. */
import { join } from 'node:path';
import { OptionError } from '../errors';
import { writeAtomically, writeJson } from '../io/files';
import { ByteTokenizer, byteTokenizerJson, loadTokenizer } from '../text';
import { readText } from '../text/utf8';

export interface ExportedTokenizer {
  /** The text of tokenizer.json. */
  readonly json: string;
  readonly endOfText: { readonly id: number; readonly content: string } | null;
}

interface Json {
  readonly added_tokens?: readonly { readonly id: number; readonly content: string }[];
  readonly post_processor?: { readonly type: string } | null;
}

/**
 * The given tokenizer.json; without one, the byte tokenizer for a vocabulary of its size, else null.
 * @throws {FileError | FormatError} @throws {OptionError} for a tokenizer with ids that the model does not have.
 */
export function exportedTokenizer(file: string | undefined, vocabSize: number): ExportedTokenizer | null {
  const bytes = new ByteTokenizer();
  if (file === undefined) return vocabSize === bytes.vocabSize ? describe(byteTokenizerJson(), bytes.endOfText) : null;
  const { endOfText, vocabSize: ids } = loadTokenizer(file);
  if (ids > vocabSize)
    throw new OptionError('export: tokenizerFile', `a tokenizer of at most ${vocabSize} ids, as the model has`, ids);
  return describe(JSON.parse(readText(file)), endOfText);
}

/** Without steps that put tokens around a prompt, or cut or pad it: the model was trained on bare text. */
function describe(json: Json, id: number | null): ExportedTokenizer {
  const { added_tokens: added = [], post_processor } = json;
  const token = added.find((candidate) => candidate.id === id);
  const bare = {
    ...json,
    truncation: null,
    padding: null,
    // ByteLevel only moves offsets.
    post_processor: post_processor?.type === 'ByteLevel' ? post_processor : null,
  };
  const endOfText = token ? { id: token.id, content: token.content } : null;
  return { json: `${JSON.stringify(bare, null, 2)}\n`, endOfText };
}

/** `tokenizer.json` and `tokenizer_config.json`; rows of a batch are filled on the left, as generation needs it. */
export function writeTokenizer(folder: string, { json, endOfText }: ExportedTokenizer, seqLen: number): void {
  writeAtomically(join(folder, 'tokenizer.json'), [Buffer.from(json)]);
  writeJson(join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: seqLen,
    clean_up_tokenization_spaces: false,
    padding_side: 'left',
    ...(endOfText && { eos_token: endOfText.content, pad_token: endOfText.content }),
  });
}

/** `generation_config.json`: what ends a text and fills a batch. */
export function writeGenerationConfig(folder: string, endOfText: number | null): void {
  const ids = endOfText !== null && { bos_token_id: endOfText, eos_token_id: endOfText, pad_token_id: endOfText };
  writeJson(join(folder, 'generation_config.json'), { ...ids });
}
