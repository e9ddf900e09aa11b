/** The tokenizer of a model as the files that Hugging Face's libraries read. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withFile, writeAtomically, writeJson } from '../io/files';
import { ByteTokenizer, byteTokenizerJson, loadTokenizer } from '../text';

export interface ExportedTokenizer {
  /** The text of tokenizer.json. */
  readonly json: string;
  readonly endOfText: { readonly id: number; readonly content: string } | null;
}

/**
 * The given tokenizer.json; without one, the byte tokenizer for a vocabulary of its size, else null.
 * @throws {FileError | FormatError}
 */
export function exportedTokenizer(file: string | undefined, vocabSize: number): ExportedTokenizer | null {
  const bytes = new ByteTokenizer();
  if (file === undefined)
    return vocabSize === bytes.vocabSize
      ? describe(JSON.stringify(byteTokenizerJson(), null, 2), bytes.endOfText)
      : null;
  const { endOfText } = loadTokenizer(file);
  return describe(
    withFile('read', file, () => readFileSync(file, 'utf8')),
    endOfText,
  );
}

function describe(json: string, id: number | null): ExportedTokenizer {
  const { added_tokens: added = [] }: { added_tokens?: { id: number; content: string }[] } = JSON.parse(json);
  const token = added.find((candidate) => candidate.id === id);
  return { json, endOfText: token ? { id: token.id, content: token.content } : null };
}

/** `tokenizer.json` and `tokenizer_config.json`. */
export function writeTokenizer(folder: string, { json, endOfText }: ExportedTokenizer, seqLen: number): void {
  writeAtomically(join(folder, 'tokenizer.json'), [Buffer.from(json)]);
  writeJson(join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: seqLen,
    clean_up_tokenization_spaces: false,
    ...(endOfText && { bos_token: endOfText.content, eos_token: endOfText.content }),
  });
}
