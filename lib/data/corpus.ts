/** From text files to token files: finds documents, holds out whole ones, tokenizes and writes. */
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { checkNumber, checkPath, FileError, OptionError } from '../errors';
import { withFile } from '../io/files';
import { isObject } from '../options';
import { checkTokenizer, type Tokenizer } from '../text/tokenizer';
import { readText } from '../text/utf8';
import { type TokenDType, TokenWriter, tokenDTypeFor } from './token_file';

/** A text with a name. */
export interface Document {
  /** Path of the file, inside the folder where that was given. */
  readonly name: string;
  /** The whole text. */
  readonly text: string;
}

const TEXT_FILES = ['.txt', '.md', '.text', '.rst'];

/** Whether a file or folder was not met before, under this or another name. */
function isFirst(path: string, met: Set<string>): boolean {
  const before = met.size;
  return met.add(realpathSync(path)).size > before;
}

/**
 * The text files in a folder, at any depth, in order; links count as what they lead to.
 * @param met where it was already, without links. So circles end, and no text is both trained on and held out.
 */
function* textFiles(folder: string, met = new Set<string>()): Generator<string> {
  if (!isFirst(folder, met)) return;
  for (const name of withFile('read', folder, () => readdirSync(folder)).sort()) {
    const path = join(folder, name);
    const stats = withFile('read', path, () => statSync(path, { throwIfNoEntry: false }));
    if (stats === undefined) throw new FileError(`cannot read ${path}: it is a link to nothing`);
    if (stats.isDirectory()) yield* textFiles(path, met);
    else if (stats.isFile() && TEXT_FILES.includes(extname(name).toLowerCase()) && isFirst(path, met)) yield path;
  }
}

/**
 * A file is one document; a folder gives one for each .txt, .md, .text or .rst file in it, at any depth, in order.
 * Links are followed; what several of them lead to is one document.
 * Text is UTF-8; a byte order mark is not part of it.
 * @throws {FileError} when nothing is there, it holds no text, or a link in it leads nowhere. @throws {FormatError} when it is not UTF-8.
 */
export function readDocuments(path: string): Document[] {
  checkPath('readDocuments: path', path);
  return withFile('read', path, () => {
    const files = statSync(path).isDirectory() ? [...textFiles(path)] : [path];
    if (files.length === 0) throw new FileError(`${path}: no ${TEXT_FILES.join(', ')} file in it`);
    const documents = files.map((file) => ({ name: file, text: readText(file) }));
    const binary = documents.find(({ text }) => text.includes('\0'));
    if (binary !== undefined) throw new FileError(`${binary.name}: it is not text: it holds zero bytes`);
    const filled = documents.filter(({ text }) => text.trim() !== '');
    if (filled.length === 0) throw new FileError(`${path}: it holds no text`);
    return filled;
  });
}

/** @throws {OptionError} */
function checkDocuments(where: string, documents: unknown): asserts documents is readonly Document[] {
  const isDocument = (value: unknown) =>
    isObject(value) && typeof value.name === 'string' && typeof value.text === 'string';
  if (!Array.isArray(documents) || !Array.from(documents).every(isDocument))
    throw new OptionError(`${where}: documents`, 'an array of documents', documents);
}

/** Documents to train on, and others to validate on. */
export interface Split {
  /** To train on. */
  readonly train: readonly Document[];
  /** Held out. */
  readonly validation: readonly Document[];
}

/**
 * Holds out every n-th document, whole, so that about `fraction` of the text is validation. A single document is cut at
 * a line end instead, and its last part is validation.
 */
export function splitDocuments(documents: readonly Document[], fraction = 0.1): Split {
  checkNumber('splitDocuments: fraction', fraction, 0.001, 0.5);
  checkDocuments('splitDocuments', documents);
  if (documents.length === 1) return cutDocument(documents[0]!, fraction);
  const every = Math.max(2, Math.min(documents.length, Math.round(1 / fraction)));
  const held = (i: number) => i % every === every - 1;
  return { train: documents.filter((_, i) => !held(i)), validation: documents.filter((_, i) => held(i)) };
}

/** Where the visible character at `index` begins: an emoji or an accented letter can be several code points. */
const characterStart = (text: string, index: number): number =>
  new Intl.Segmenter('und', { granularity: 'grapheme' }).segment(text).containing(index)?.index ?? 0;

function cutDocument({ name, text }: Document, fraction: number): Split {
  const wanted = Math.floor(text.length * (1 - fraction));
  const lineEnd = text.lastIndexOf('\n', wanted);
  const cut = lineEnd > text.length / 4 ? lineEnd + 1 : characterStart(text, wanted);
  return {
    train: [{ name: `${basename(name)} (start)`, text: text.slice(0, cut) }],
    validation: [{ name: `${basename(name)} (end)`, text: text.slice(cut) }],
  };
}

/** What was written to a token file. */
export interface TokenizedText {
  /** The token file. */
  readonly path: string;
  /** Type of its ids. */
  readonly dtype: TokenDType;
  /** Number of tokens. */
  readonly tokens: number;
  /** UTF-8 bytes of the text, for bits per byte. */
  readonly bytes: number;
  /** Number of documents. */
  readonly documents: number;
}

/** Writes documents as one token file, each followed by an end of text if the tokenizer has one. */
export function writeTokens(path: string, documents: readonly Document[], tokenizer: Tokenizer): TokenizedText {
  checkPath('writeTokens: path', path);
  checkDocuments('writeTokens', documents);
  checkTokenizer('writeTokens: tokenizer', tokenizer);
  if (documents.length === 0) throw new OptionError('writeTokens: documents', 'at least one', 0);
  const writer = new TokenWriter(path, tokenDTypeFor(tokenizer.vocabSize));
  let bytes = 0;
  try {
    for (const { text } of documents) {
      writer.write(tokenizer.encode(text));
      if (tokenizer.endOfText !== null) writer.write([tokenizer.endOfText]);
      bytes += Buffer.byteLength(text);
    }
    writer.close();
  } catch (error) {
    writer.abort();
    throw error;
  }
  return { path, dtype: writer.dtype, tokens: writer.length, bytes, documents: documents.length };
}
