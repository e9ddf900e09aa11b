/**
 * How a tokenizer.json cuts text into words. In the library (0.2.0) these rules use JavaScript's white space, letters
 * and digits unless the file has a pattern, and most behaviors of Split are missing. So each rule becomes a pattern and
 * a behavior here.
 */
import { compilePattern, library, type Part } from './library';

/** Words of a text. `atStart`: whether it is the start of the whole text. */
export type PreTokenizer = (text: string, atStart: boolean) => Iterable<string>;

/** How byte-level tokenizers cut text into words before merging (Radford et al. 2019). */
export const WORD =
  /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The meaning of `\w` in Unicode (technical standard 18). */
export const LETTERS = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const PUNCTUATION = '[\\p{P}$+<=>^`|~]';

const pattern = (source: string) => new RegExp(source, 'gu');

/** Whether a piece is joined to the one before it; each is a match of the pattern, or what lies between two matches. */
export const JOINS: Readonly<Record<string, (before: boolean, match: boolean) => boolean>> = {
  Isolated: () => false,
  Removed: () => false,
  Contiguous: (before, match) => before === match,
  MergedWithPrevious: (before, match) => !before && match,
  MergedWithNext: (before, match) => before && !match,
};

/** Matches and the text between them, in order; `piece.match` says which of the two the last one was. */
function* pieces(text: string, cut: RegExp, piece = { match: false }): Generator<string> {
  let end = 0;
  for (const { 0: match, index } of text.matchAll(cut)) {
    piece.match = false;
    if (index > end) yield text.slice(end, index);
    piece.match = true;
    if (match !== '') yield match;
    end = index + match.length;
  }
  piece.match = false;
  if (end < text.length) yield text.slice(end);
}

/** `invert`: the text between the matches of `cut` counts as the matches. */
function split(cut: RegExp, behavior = 'Isolated', invert = false): PreTokenizer {
  const joins = JOINS[behavior]!;
  if (behavior === 'Isolated') return (text) => pieces(text, cut);
  return function* words(text) {
    let [word, before] = ['', false];
    const piece = { match: false };
    for (const next of pieces(text, cut, piece)) {
      const match = piece.match !== invert;
      if (match && behavior === 'Removed') continue;
      if (word !== '' && !joins(before, match)) {
        yield word;
        word = '';
      }
      word += next;
      before = match;
    }
    if (word !== '') yield word;
  };
}

const behaviorOf = ({ behavior }: Part): string | undefined => (behavior ?? undefined) as string | undefined;

function byteLevel({ add_prefix_space, use_regex }: Part): PreTokenizer[] {
  const bytes = new (library().ByteLevelPreTokenizer)({ use_regex: false });
  const prefixed: PreTokenizer = (text) => [text.startsWith(' ') ? text : ` ${text}`];
  return [
    ...(add_prefix_space ? [prefixed] : []),
    ...((use_regex ?? true) ? [split(WORD)] : []),
    (text) => bytes.pre_tokenize_text(text),
  ];
}

function metaspace(part: Part): PreTokenizer[] {
  const { add_prefix_space } = part;
  const mark = String(part.replacement ?? '▁');
  // Older files have add_prefix_space instead of a scheme.
  const scheme = part.prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always');
  const marked: PreTokenizer = (text, atStart) => {
    const spaced = text.replaceAll(' ', () => mark);
    const prepend = scheme === 'always' || (scheme === 'first' && atStart);
    return [prepend && !spaced.startsWith(mark) ? mark + spaced : spaced];
  };
  return [marked, ...((part.split ?? true) ? [split(compilePattern({ String: mark }), 'MergedWithNext')] : [])];
}

/** The steps of a pre-tokenizer; each cuts the words of the previous one. @throws {Error} for an unknown step. */
export function preTokenizers(part: Part | null | undefined): PreTokenizer[] {
  if (part === null || part === undefined) return [];
  switch (part.type) {
    case 'Sequence':
      return (part.pretokenizers as Part[]).flatMap(preTokenizers);
    case 'ByteLevel':
      return byteLevel(part);
    case 'Metaspace':
      return metaspace(part);
    case 'Split':
      return [split(compilePattern(part.pattern), behaviorOf(part), part.invert === true)];
    case 'Whitespace':
      return [split(pattern(`[${LETTERS}]+|[^${LETTERS}\\p{White_Space}]+`), 'Removed', true)];
    case 'WhitespaceSplit':
      return [split(pattern('\\p{White_Space}'), 'Removed')];
    case 'BertPreTokenizer':
      return [split(pattern('\\p{White_Space}'), 'Removed'), split(pattern(PUNCTUATION))];
    case 'Punctuation':
      return [split(pattern(PUNCTUATION), behaviorOf(part))];
    case 'Digits':
      return [split(pattern('\\p{N}'), part.individual_digits ? 'Isolated' : 'Contiguous')];
    case 'FixedLength':
      return [split(pattern(`[^]{1,${Number(part.length)}}`))];
    default:
      throw new Error(`a pre-tokenizer of type ${part.type} is not known`);
  }
}

/** All steps as one function. */
export const inSequence =
  (steps: readonly PreTokenizer[]): PreTokenizer =>
  (text, atStart) => {
    let words = [text];
    const leads = (word: string, i: number) => atStart && i === 0 && text.startsWith(word);
    for (const step of steps) words = words.flatMap((word, i) => [...step(word, leads(word, i))]);
    return words;
  };
