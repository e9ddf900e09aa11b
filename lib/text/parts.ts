/**
 * The fields of the parts of a tokenizer.json, each checked by its name: what is missing or of another kind would become part of
 * texts, as "undefined" does.
 */
import { FormatError } from '../errors';
import { isObject } from '../options';
import type { Part } from './library';
import { JOINS } from './pre_tokenizer';

/** The kinds of parts, by their names in the file. */
export type PartName = 'normalizer' | 'pre_tokenizer' | 'decoder' | 'post_processor' | 'model' | 'added_token';

/** What a field may be: what is expected if it is none of that. */
type Check = (value: unknown) => string | null;

type Fields = Readonly<Record<string, Check>>;

/** A value in messages. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  try {
    return JSON.stringify(value) ?? 'nothing';
  } catch {
    return `a ${typeof value} that JSON has not`;
  }
}

const expect =
  (expected: string, holds: (value: unknown) => boolean): Check =>
  (value) =>
    holds(value) ? null : expected;

const text = expect('text', (value) => typeof value === 'string');
const flag = expect('true or false', (value) => typeof value === 'boolean');
const count = (least: number) =>
  expect(`a whole number of at least ${least}`, (value) => Number.isSafeInteger(value) && (value as number) >= least);
const pattern = expect('a pattern, which is neither a String nor a Regex', (value) => {
  const { String: literal, Regex: source } = isObject(value) ? value : {};
  return typeof literal === 'string' || typeof source === 'string';
});
const choice = (names: readonly string[]) =>
  expect(`one of ${names.join(', ')}`, (value) => names.includes(value as string));

/** A field that may be missing or null. */
const maybe =
  (check: Check): Check =>
  (value) =>
    (value ?? null) === null ? null : check(value);

const replace: Fields = { pattern, content: text };
const metaspace: Fields = {
  replacement: maybe(text),
  add_prefix_space: maybe(flag),
  prepend_scheme: maybe(choice(['always', 'first', 'never'])),
  split: maybe(flag),
};
const byteLevel: Fields = { add_prefix_space: maybe(flag), trim_offsets: maybe(flag), use_regex: maybe(flag) };
const behavior = maybe(choice(Object.keys(JOINS)));

/** By part and type. A type that is not here has no fields, or is not known; those who make the part say so. */
const FIELDS: Readonly<Record<PartName, Readonly<Record<string, Fields>>>> = {
  normalizer: {
    Replace: replace,
    Prepend: { prepend: text },
    Strip: { strip_left: maybe(flag), strip_right: maybe(flag) },
    BertNormalizer: {
      clean_text: maybe(flag),
      handle_chinese_chars: maybe(flag),
      strip_accents: maybe(flag),
      lowercase: maybe(flag),
    },
  },
  pre_tokenizer: {
    ByteLevel: byteLevel,
    Metaspace: metaspace,
    Split: { pattern, behavior, invert: maybe(flag) },
    Punctuation: { behavior },
    Digits: { individual_digits: maybe(flag) },
    FixedLength: { length: count(1) },
  },
  decoder: {
    ByteLevel: byteLevel,
    Metaspace: metaspace,
    WordPiece: { prefix: text, cleanup: maybe(flag) },
    BPEDecoder: { suffix: maybe(text) },
    CTC: { pad_token: text, word_delimiter_token: text, cleanup: maybe(flag) },
    Replace: replace,
    Strip: { content: text, start: count(0), stop: count(0) },
  },
  // Nothing is added around a text here, so that nothing but its type is read.
  post_processor: {},
  model: {
    BPE: {
      dropout: maybe(expect('a number', (value) => typeof value === 'number')),
      unk_token: maybe(text),
      end_of_word_suffix: maybe(text),
      fuse_unk: maybe(flag),
      byte_fallback: maybe(flag),
      ignore_merges: maybe(flag),
    },
    WordPiece: { unk_token: text, continuing_subword_prefix: text, max_input_chars_per_word: maybe(count(0)) },
  },
  added_token: {
    AddedToken: {
      special: maybe(flag),
      normalized: maybe(flag),
      single_word: maybe(flag),
      lstrip: maybe(flag),
      rstrip: maybe(flag),
    },
  },
};

/** The field with the parts of a Sequence. */
const LISTS: Readonly<Partial<Record<PartName, string>>> = {
  normalizer: 'normalizers',
  pre_tokenizer: 'pretokenizers',
  decoder: 'decoders',
  post_processor: 'processors',
};

/** @throws {FormatError} that names `where` and the field, unless the fields of a part of a known type are as they must be. */
export function checkPart(file: string, name: PartName, part: unknown, where: string = name): asserts part is Part {
  const refuse = (field: string, expected: string, got: unknown): never => {
    throw new FormatError(file, `${where}${field}: expected ${expected}, got ${show(got)}`);
  };
  if (!isObject(part)) return refuse('', 'an object', part);
  const { type } = part;
  if (typeof type !== 'string') return refuse('.type', 'text', type);
  const list = type === 'Sequence' ? LISTS[name] : undefined;
  if (list !== undefined) {
    const parts = part[list];
    if (!Array.isArray(parts)) return refuse(`.${list}`, 'a list', parts);
    for (const [i, each] of parts.entries()) checkPart(file, name, each, `${where}.${list}[${i}]`);
    return;
  }
  const known = FIELDS[name];
  const fields = Object.hasOwn(known, type) ? known[type]! : {};
  for (const [field, check] of Object.entries(fields)) {
    const expected = check(part[field]);
    if (expected !== null) refuse(`.${field}`, expected, part[field]);
  }
}
