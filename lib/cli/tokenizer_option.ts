/** The tokenizer of a run: built in, trained on the data, or read from a file. */
import type { Document } from '../data';
import { writeJson } from '../io/files';
import { ByteTokenizer, loadTokenizer, type Tokenizer, trainBpe } from '../text';
import { UsageError } from './failure';

/** `byte`, `bpe:SIZE` (trained on the documents, written to `path`), or the path of a tokenizer.json. */
export function tokenizerFrom(kind: string, documents: readonly Document[], path: string): Tokenizer {
  if (kind === 'byte') return new ByteTokenizer();
  if (!kind.startsWith('bpe:')) return loadTokenizer(kind);
  const vocabSize = Number(kind.slice(4));
  if (!Number.isInteger(vocabSize) || vocabSize < 257)
    throw new UsageError(`--tokenizer ${kind}: expected bpe:SIZE with a SIZE of at least 257`);
  writeJson(
    path,
    trainBpe(
      documents.map(({ text }) => text),
      { vocabSize },
    ),
  );
  return loadTokenizer(path);
}

/** The tokenizer that a checkpoint was trained with: its tokenizer.json, or bytes. */
export const tokenizerOf = (tokenizerFile: string | undefined): Tokenizer =>
  tokenizerFile === undefined ? new ByteTokenizer() : loadTokenizer(tokenizerFile);
