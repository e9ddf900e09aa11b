/** The ids and texts of Python's `tokenizers`, recorded by record_tokenizers.py, for tokenizers of many kinds. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpeTokenizer, StreamingDecoder } from '../../lib/text';

interface Recorded {
  readonly tokenizer: object;
  /** Of each string; null where Python fails. */
  readonly ids: readonly (readonly number[] | null)[];
  /** Null where it is the string. */
  readonly texts: readonly (string | null)[];
}

const folder = join(__dirname, '..', 'fixtures', 'tokenizers');
const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
const strings = read('strings') as readonly string[];
const names = readdirSync(folder)
  .map((file) => file.slice(0, -'.json'.length))
  .filter((name) => name !== 'strings');

describe.each(names)('%s', (name) => {
  const recorded = read(name) as Recorded;
  const tokenizer = new BpeTokenizer(name, recorded.tokenizer);
  const cases = recorded.ids.flatMap((ids, i) => (ids ? [{ string: strings[i]!, ids, text: recorded.texts[i] }] : []));

  test('all strings have the recorded ids, one by one and again', () => {
    expect(cases.length).toBeGreaterThan(300);
    for (let round = 0; round < 2; round++)
      expect(cases.map(({ string }) => [string, [...tokenizer.encode(string)]])).toEqual(
        cases.map(({ string, ids }) => [string, ids]),
      );
  });

  // Python gives the normalized text of an added token, we its own.
  if (!name.endsWith('-added'))
    test('the ids have the recorded texts', () => {
      expect(cases.map(({ ids }) => tokenizer.decode(ids))).toEqual(cases.map(({ string, text }) => text ?? string));
    });

  test('streamed after any part of the ids, the text is that of all ids', () => {
    for (const { ids } of cases)
      for (let known = 0; known <= ids.length; known += 1 + (ids.length >> 1)) {
        const before = tokenizer.decode(ids.slice(0, known));
        if (before.endsWith('\uFFFD')) continue;
        const stream = new StreamingDecoder(tokenizer, ids.slice(0, known));
        const pieces = ids.slice(known).map((id) => stream.push(id));
        expect(before + pieces.join('') + stream.end()).toBe(tokenizer.decode(ids));
      }
  });
});
