import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { FileError, FormatError, OptionError } from '../../lib';
import { ByteTokenizer, loadTokenizer, StreamingDecoder, trainBpe } from '../../lib/text';

const folder = mkdtempSync(join(tmpdir(), 'sffn-text-'));
afterAll(() => rmSync(folder, { recursive: true }));

const text =
  'The state of the union is strong. The union, the people: 1,234 of them!\n\n  Don’t stop; it’s the law. '.repeat(3);
function trained(vocabSize: number) {
  const path = join(folder, `${vocabSize}.json`);
  writeFileSync(path, JSON.stringify(trainBpe([text], { vocabSize })));
  return loadTokenizer(path);
}

describe.each([
  ['bytes', () => new ByteTokenizer()],
  ['BPE of 300', () => trained(300)],
])('%s', (_, create) => {
  const tokenizer = create();

  test('any text comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (s) => {
        const clean = Buffer.from(s).toString().replaceAll('<|', '');
        expect(tokenizer.decode(tokenizer.encode(clean))).toBe(clean);
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  test('ids are below the size of the vocabulary, and the end of text is none of a text', () => {
    const ids = tokenizer.encode(text);
    expect(Math.max(...ids)).toBeLessThan(tokenizer.vocabSize);
    expect([...ids]).not.toContain(tokenizer.endOfText);
    expect(tokenizer.endOfText).toBe(tokenizer.vocabSize - 1);
    expect(tokenizer.decode([tokenizer.endOfText!])).toBe('');
  });

  test('a stream never shows half a character', () => {
    const decoder = new StreamingDecoder(tokenizer);
    const pieces = [...tokenizer.encode('a 😀 ü')].map((id) => decoder.push(id));
    expect(pieces.join('')).not.toContain('\uFFFD');
    expect(pieces.join('') + decoder.end()).toBe('a 😀 ü');
  });
});

test('BPE merges the most frequent pairs and is deterministic', () => {
  const json = trainBpe(['aaab aaab aaab b'], { vocabSize: 260 }) as { model: { merges: string[][]; vocab: object } };
  expect(json.model.merges[0]).toEqual(['a', 'a']);
  expect(trainBpe(['aaab aaab aaab b'], { vocabSize: 260 })).toEqual(json);
  expect(trained(300).encode(text).length).toBeLessThan(new ByteTokenizer().encode(text).length / 1.5);
});

test('words encoded one by one give the ids of the whole', () => {
  const { Tokenizer } = require('@huggingface/tokenizers') as {
    Tokenizer: new (json: object, config: object) => { encode(text: string, o: object): { ids: number[] } };
  };
  const json = trainBpe([text], { vocabSize: 300 });
  const whole = new Tokenizer(json, {}).encode(text, { add_special_tokens: false }).ids;
  expect([...trained(300).encode(text)]).toEqual(whole);
});

test('bad vocabularies and files are refused', () => {
  expect(() => trainBpe([text], { vocabSize: 256 })).toThrow(OptionError);
  expect(() => trainBpe([], { vocabSize: 300 })).toThrow(OptionError);
  expect(() => loadTokenizer(join(folder, 'none.json'))).toThrow(FileError);
  const path = join(folder, 'bad.json');
  for (const content of [
    '{',
    'null',
    '{}',
    '{"model":{"type":"BPE","vocab":{}}}',
    '{"model":{"type":"Nonsense","vocab":{"a":0}}}',
  ]) {
    writeFileSync(path, content);
    expect(() => loadTokenizer(path)).toThrow(FormatError);
  }
});
