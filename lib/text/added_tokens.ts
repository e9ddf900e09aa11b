/** Added tokens: texts that are one token wherever they stand. They are cut out before anything else is done. */
import { LETTERS } from './pre_tokenizer';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  /** Whether it is searched in normalized text. Default: true unless it is special. */
  readonly normalized?: boolean;
  /** Whether it must not touch a letter or digit. */
  readonly single_word?: boolean;
  /** Whether white space before it belongs to it. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
}

/** Text between added tokens, or the id of one; `start` is where it begins. */
export type Section = { readonly text: string; readonly start: number } | { readonly id: number };

const LAST_LETTER = new RegExp(`[${LETTERS}]$`, 'u');
const FIRST_LETTER = new RegExp(`^[${LETTERS}]`, 'u');
const LAST_SPACES = /(?<!\p{White_Space})\p{White_Space}+$/u;
const FIRST_SPACES = /^\p{White_Space}+/u;

/** Two UTF-16 units hold any character. */
const touchesLetters = (text: string, start: number, end: number) =>
  LAST_LETTER.test(text.slice(Math.max(0, start - 2), start)) || FIRST_LETTER.test(text.slice(end, end + 2));

/** Cuts a text at added tokens; if several match, the longest wins. `contentOf`: the text to search for a token. */
export function addedTokenSplitter(
  tokens: readonly AddedToken[],
  contentOf: (content: string) => string = (content) => content,
): (text: string) => Iterable<Section> {
  // If several have one content, the first counts.
  const byContent = new Map(tokens.map((token) => [contentOf(token.content), token] as const).toReversed());
  byContent.delete('');
  if (byContent.size === 0) return (text) => (text === '' ? [] : [{ text, start: 0 }]);
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const any = new RegExp(
    longestFirst.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'),
    'gu',
  );

  return function* sections(text) {
    let done = 0;
    for (const { 0: content, index } of text.matchAll(any)) {
      const token = byContent.get(content)!;
      let [start, end] = [index, index + content.length];
      if (start < done) continue;
      if (token.single_word && touchesLetters(text, start, end)) continue;
      if (token.lstrip) start -= LAST_SPACES.exec(text.slice(done, start))?.[0].length ?? 0;
      if (token.rstrip) end += FIRST_SPACES.exec(text.slice(end))?.[0].length ?? 0;
      if (start > done) yield { text: text.slice(done, start), start: done };
      yield { id: token.id };
      done = end;
    }
    if (done < text.length) yield { text: text.slice(done), start: done };
  };
}
