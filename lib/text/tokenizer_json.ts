/** Checks a tokenizer.json before anything is made of it. */
import { FormatError } from '../errors';
import { isObject } from '../options';
import type { AddedToken } from './added_tokens';
import type { Part } from './library';
import { checkPart, type PartName, show } from './parts';

export interface TokenizerJson {
  readonly model: Part & { readonly vocab: Readonly<Record<string, number>> };
  /** One more than the largest id. */
  readonly vocabSize: number;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer?: Part | null;
  readonly pre_tokenizer?: Part | null;
  readonly decoder?: Part | null;
}

/** Ids are indices of 32 bits. */
const MAX_ID = 2 ** 31 - 2;

/** Texts and their ids, each pair once. */
class Vocabulary {
  readonly #ids = new Map<string, number>();
  readonly #texts = new Map<number, string>();
  #maxId = -1;

  constructor(readonly file: string) {}

  /** One more than the largest id. */
  get size(): number {
    return this.#maxId + 1;
  }

  add(text: string, id: unknown): void {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > MAX_ID)
      this.#refuse(`the token ${show(text)}: expected an id of 0 .. ${MAX_ID}, got ${show(id)}`);
    const known = this.#ids.get(text);
    if (known === id) return;
    if (known !== undefined) this.#refuse(`the token ${show(text)} has two ids, ${known} and ${id}`);
    if (this.#texts.has(id))
      this.#refuse(`the id ${id} has two tokens, ${show(this.#texts.get(id))} and ${show(text)}`);
    this.#ids.set(text, id);
    this.#texts.set(id, text);
    if (id > this.#maxId) this.#maxId = id;
  }

  has(text: string): boolean {
    return this.#ids.has(text);
  }

  #refuse(problem: string): never {
    throw new FormatError(this.file, problem);
  }
}

function checkMerges(file: string, merges: unknown, vocabulary: Vocabulary): void {
  if (!Array.isArray(merges)) throw new FormatError(file, `model.merges: expected a list, got ${show(merges)}`);
  for (const [i, merge] of merges.entries()) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right, more]: unknown[] = Array.isArray(pair) ? pair : [];
    if (typeof left !== 'string' || typeof right !== 'string' || more !== undefined)
      throw new FormatError(
        file,
        `merge ${i}: expected two tokens, got ${Array.isArray(merge) ? `[${merge.map(show).join(', ')}]` : show(merge)}`,
      );
    for (const token of [left, right, left + right])
      if (!vocabulary.has(token)) throw new FormatError(file, `merge ${i}: ${show(token)} is not in the vocabulary`);
  }
}

/**
 * The parts of a tokenizer.json that we read, checked: ids are valid and unique, and the model is one that is encoded
 * correctly here. @throws {FormatError} that names the first thing that is wrong.
 */
export function checkTokenizerJson(file: string, json: unknown): TokenizerJson {
  if (!isObject(json) || !isObject(json.model))
    throw new FormatError(file, 'it is not a tokenizer.json: it has no model');
  const { model, added_tokens: added = [] } = json as { model: Part; added_tokens?: unknown };
  // Older files have no type.
  const {
    type = 'merges' in model ? 'BPE' : undefined,
    vocab,
    unk_token: unknown,
    continuing_subword_prefix: prefix,
  } = model;
  if (type !== 'BPE' && type !== 'WordPiece')
    throw new FormatError(file, `model.type: expected BPE or WordPiece, got ${show(type)}`);
  if (!isObject(vocab)) throw new FormatError(file, `model.vocab: expected tokens and their ids, got ${show(vocab)}`);
  if (!Array.isArray(added)) throw new FormatError(file, `added_tokens: expected a list, got ${show(added)}`);
  const vocabulary = new Vocabulary(file);
  for (const text in vocab) vocabulary.add(text, vocab[text]);
  added.forEach((token: unknown, i) => {
    if (!isObject(token) || typeof token.content !== 'string')
      throw new FormatError(file, `added token ${i}: expected a content and an id, got ${show(token)}`);
    checkPart(file, 'added_token', { ...token, type: 'AddedToken' }, `added token ${i}`);
    vocabulary.add(token.content, token.id);
  });
  if (vocabulary.size === 0) throw new FormatError(file, 'its vocabulary is empty');
  if (type === 'BPE') {
    checkMerges(file, model.merges, vocabulary);
    if (prefix)
      throw new FormatError(file, `model.continuing_subword_prefix: expected none in BPE, got ${show(prefix)}`);
  }
  if ((type === 'WordPiece' || (unknown ?? null) !== null) && !Object.hasOwn(vocab, String(unknown)))
    throw new FormatError(file, `model.unk_token: expected a token of the vocabulary, got ${show(unknown)}`);
  checkPart(file, 'model', { ...model, type });
  const part = (name: PartName): Part | null => {
    const value = json[name] ?? null;
    if (value !== null) checkPart(file, name, value);
    return value;
  };
  part('post_processor');
  return {
    model: { ...model, type } as TokenizerJson['model'],
    vocabSize: vocabulary.size,
    added_tokens: added as AddedToken[],
    normalizer: part('normalizer'),
    pre_tokenizer: part('pre_tokenizer'),
    decoder: part('decoder'),
  };
}
