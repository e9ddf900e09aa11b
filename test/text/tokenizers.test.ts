import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { FileError, FormatError, IndexError, OptionError } from '../../lib';
import {
  BpeTokenizer,
  ByteTokenizer,
  byteTokenizerJson,
  loadTokenizer,
  StreamingDecoder,
  trainBpe,
} from '../../lib/text';

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

  test('text and ids that are none are refused', () => {
    expect(() => tokenizer.encode('a\uD83D')).toThrow(
      'encode: text: expected Unicode text, got half a surrogate pair at 1',
    );
    expect(() => tokenizer.encode('\uDE00')).toThrow(OptionError);
    expect(() => tokenizer.encode(7 as unknown as string)).toThrow('encode: text: expected a string, got 7');
    for (const id of [-1, 1.5, Number.NaN, 1e18]) {
      expect(() => tokenizer.decode([97, id])).toThrow(IndexError);
      expect(() => new StreamingDecoder(tokenizer).push(id)).toThrow(
        'StreamingDecoder.push: id: expected a whole number',
      );
    }
    expect(tokenizer.decode([97, 4000, 98])).toBe('ab');
  });

  test('the end of text in a text is its token', () => {
    expect(
      [...tokenizer.encode('a<|endoftext|><|endoftext|>b')].filter((id) => id === tokenizer.endOfText),
    ).toHaveLength(2);
    expect(tokenizer.decode(tokenizer.encode('a<|endoftext|>b'))).toBe('ab');
    expect([...tokenizer.encode('<|endoftext|>')]).toEqual([tokenizer.endOfText]);
    expect([...tokenizer.encode('')]).toEqual([]);
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

type Json = { model: Record<string, unknown>; added_tokens: object[] } & Record<string, unknown>;
const bytes = byteTokenizerJson() as Json & { model: { vocab: Record<string, unknown> } };
const added = (id: unknown, content: unknown, special = true) => ({ id, content, special, normalized: !special });
const withAdded = (...tokens: object[]) =>
  new BpeTokenizer('added.json', { ...bytes, added_tokens: [...bytes.added_tokens, ...tokens] });
const ids = (tokenizer: BpeTokenizer, s: string) => [...tokenizer.encode(s)];

test('the byte tokenizer and its tokenizer.json give the same ids', () => {
  const [ours, file] = [new ByteTokenizer(), new BpeTokenizer('bytes', bytes)];
  for (const s of ['', 'a<|endoftext|>', '<|endoftext|>é<|endoftext', '\uFEFF\u0085 x\u00A0\0', '😀'])
    expect([...ours.encode(s)]).toEqual(ids(file, s));
});

test('an added token is one token whatever its text', () => {
  expect(ids(withAdded(added(257, '<pad>')), 'a<pad>')).toEqual([97, 257]);
  expect(ids(withAdded(added(300, '</s>')), 'hello</s>')).toEqual([104, 101, 108, 108, 111, 300]);
  const several = withAdded(added(257, 'aa'), added(258, 'aab'), added(259, 'é ', false), added(260, '', false));
  expect(ids(several, 'aaaabbé é')).toEqual([257, 258, 98, 259, 195, 169]);
  expect(several.decode([258, 98, 259, 97])).toBe('bé a');
});

test('white space is that of Unicode: the next line is, a byte order mark is not', () => {
  // Of two spaces the last belongs to the word after it, but not to one that is no white space.
  const merges = [['Ġ', 'Ġ']];
  const json = { ...bytes, model: { ...bytes.model, merges, vocab: { ...bytes.model.vocab, ĠĠ: 257 } } };
  const tokenizer = new BpeTokenizer('spaces', json);
  const space = tokenizer.encode(' ')[0]!;
  expect(ids(tokenizer, 'a  b').slice(1, 3)).toEqual([space, space]);
  expect(ids(tokenizer, 'a  \u0085').slice(1, 2)).toEqual([257]);
  expect(ids(tokenizer, 'a  \uFEFF').slice(1, 3)).toEqual([space, space]);
});

test('words are of letters of every script', () => {
  const vocab = { '<unk>': 0, naïve: 1, café: 2, n: 3, a: 4 };
  const model = { type: 'WordPiece', unk_token: '<unk>', continuing_subword_prefix: '##', vocab };
  const tokenizer = new BpeTokenizer('words', { model, pre_tokenizer: { type: 'Whitespace' } });
  expect(ids(tokenizer, 'naïve café')).toEqual([1, 2]);
});

test('a long text is encoded in pieces, as the whole would be', () => {
  const { Tokenizer } = require('@huggingface/tokenizers') as {
    Tokenizer: new (json: object, config: object) => { encode(text: string, o: object): { ids: number[] } };
  };
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: 'Ġ' };
  for (const json of [
    trainBpe([text], { vocabSize: 300 }),
    { ...bytes, ...trainBpe([text], { vocabSize: 300 }), pre_tokenizer: null, normalizer: spaces },
  ]) {
    const tokenizer = new BpeTokenizer('long', json);
    const whole = new Tokenizer(json, {});
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('state', 'of', 'the', ' ', '  ', 'union', '1', 'x'), { minLength: 40 }),
        (words) => {
          const s = words.join('');
          expect(ids(tokenizer, s)).toEqual(whole.encode(s, { add_special_tokens: false }).ids);
        },
      ),
      { numRuns: 30, seed: 5 },
    );
  }
});

test('a stream keeps the space between two words of a SentencePiece-style tokenizer', () => {
  const vocab = { '<unk>': 0, '▁the': 1, '▁quick': 2, '▁brown': 3 };
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ];
  const model = { type: 'BPE', unk_token: '<unk>', vocab, merges: [] };
  const tokenizer = new BpeTokenizer('marks', { model, decoder: { type: 'Sequence', decoders } });
  const stream = new StreamingDecoder(tokenizer, [1, 2]);
  expect([stream.push(3), stream.push(1), stream.end()]).toEqual([' brown', ' the', '']);
  const start = new StreamingDecoder(tokenizer);
  expect([start.push(1), start.push(2)]).toEqual(['the', ' quick']);
});

test('bad vocabularies and files are refused', () => {
  expect(() => trainBpe([text], { vocabSize: 256 })).toThrow(OptionError);
  expect(() => trainBpe([], { vocabSize: 300 })).toThrow(OptionError);
  for (const texts of ['one string', null, undefined, 5, {}])
    expect(() => trainBpe(texts as never, { vocabSize: 300 })).toThrow('trainBpe: texts: expected texts');
  expect(() => trainBpe(['\uD83D'], { vocabSize: 300 })).toThrow('trainBpe: text: expected Unicode text');
  expect(() => loadTokenizer(join(folder, 'none.json'))).toThrow(FileError);
  const path = join(folder, 'bad.json');
  for (const content of ['{', 'null', '{}', '[]', Buffer.from('{"model":"\xff"}', 'latin1')]) {
    writeFileSync(path, content);
    expect(() => loadTokenizer(path)).toThrow(FormatError);
  }
});

const bpe = (rest: object) => ({ model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'], ...rest } });
const vocabOf = (vocab: unknown) => bpe({ vocab, merges: [] });

test.each<[string, object, string]>([
  ['a negative id', vocabOf({ a: -1 }), 'the token "a": expected an id of 0 .. 2147483646, got -1'],
  ['a fraction', vocabOf({ a: 0.5 }), 'the token "a": expected an id of 0 .. 2147483646, got 0.5'],
  ['no id', vocabOf({ a: null }), 'the token "a": expected an id of 0 .. 2147483646, got null'],
  [
    'an id too large',
    vocabOf({ a: 1e18 }),
    'the token "a": expected an id of 0 .. 2147483646, got 1000000000000000000',
  ],
  ['a text for an id', vocabOf({ a: '7' }), 'the token "a": expected an id of 0 .. 2147483646, got "7"'],
  ['one id for two', vocabOf({ a: 1, b: 1 }), 'the id 1 has two tokens, "a" and "b"'],
  ['no vocabulary', vocabOf({}), 'its vocabulary is empty'],
  ['a list of tokens', vocabOf([['a', 0]]), 'model.vocab: expected tokens and their ids, got a list'],
  ['an added id', { ...bpe({}), added_tokens: [added(-3, '<pad>')] }, 'the token "<pad>": expected an id of'],
  ['an added text', { ...bpe({}), added_tokens: [added(3, 7)] }, 'added token 0: expected a content and an id'],
  ['two ids for one', { ...bpe({}), added_tokens: [added(7, 'a')] }, 'the token "a" has two ids, 0 and 7'],
  ['added tokens', { ...bpe({}), added_tokens: {} }, 'added_tokens: expected a list, got {}'],
  [
    'Unigram',
    { model: { type: 'Unigram', vocab: [['a', -1]] } },
    'model.type: expected BPE or WordPiece, got "Unigram"',
  ],
  ['WordLevel', { model: { type: 'WordLevel', vocab: { a: 0 } } }, 'expected BPE or WordPiece, got "WordLevel"'],
  ['an untyped model', { model: { vocab: { a: 0 } } }, 'model.type: expected BPE or WordPiece, got nothing'],
  ['no merges', bpe({ merges: undefined }), 'model.merges: expected a list, got nothing'],
  ['a merge of three', bpe({ merges: ['a b ab'] }), 'merge 0: expected two tokens, got "a b ab"'],
  ['a merge of none', bpe({ merges: ['a b', 7] }), 'merge 1: expected two tokens, got 7'],
  ['a lost merge', bpe({ merges: [['b', 'a']] }), 'merge 0: "ba" is not in the vocabulary'],
  [
    'a prefix',
    bpe({ continuing_subword_prefix: '##' }),
    'model.continuing_subword_prefix: expected none in BPE, got "##"',
  ],
  [
    'the unknown token',
    bpe({ unk_token: '<unk>' }),
    'model.unk_token: expected a token of the vocabulary, got "<unk>"',
  ],
  ['WordPiece', { model: { type: 'WordPiece', vocab: { a: 0 } } }, 'model.unk_token: expected a token'],
  [
    'a normalizer',
    { ...bpe({}), normalizer: { type: 'Precompiled' } },
    'a normalizer of type Precompiled is not known',
  ],
  [
    'a pre-tokenizer',
    { ...bpe({}), pre_tokenizer: { type: 'UnicodeScripts' } },
    'a pre-tokenizer of type UnicodeScripts',
  ],
  [
    'a behavior',
    { ...bpe({}), pre_tokenizer: { type: 'Punctuation', behavior: 'Odd' } },
    'pre_tokenizer.behavior: expected one of Isolated, Removed, Contiguous, MergedWithPrevious, MergedWithNext, got "Odd"',
  ],
  ['a pattern', { ...bpe({}), normalizer: { type: 'Replace', pattern: {} } }, 'neither a String nor a Regex'],
  [
    'a prefix to nothing',
    { ...bpe({}), normalizer: { type: 'Prepend' } },
    'normalizer.prepend: expected text, got nothing',
  ],
  [
    'a prefix in a sequence',
    { ...bpe({}), normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Prepend', prepend: 1 }] } },
    'normalizer.normalizers[1].prepend: expected text, got 1',
  ],
  ['a sequence of none', { ...bpe({}), normalizer: { type: 'Sequence' } }, 'normalizer.normalizers: expected a list'],
  [
    'a sequence of text',
    { ...bpe({}), pre_tokenizer: { type: 'Sequence', pretokenizers: ['Digits'] } },
    'pre_tokenizer.pretokenizers[0]: expected an object, got "Digits"',
  ],
  ['a part without type', { ...bpe({}), decoder: {} }, 'decoder.type: expected text, got nothing'],
  ['a sequence of decoders', { ...bpe({}), decoder: { type: 'Sequence' } }, 'decoder.decoders: expected a list'],
  ['a replacement', { ...bpe({}), normalizer: { type: 'Replace', pattern: { String: 'a' } } }, 'normalizer.content'],
  ['a length', { ...bpe({}), pre_tokenizer: { type: 'FixedLength' } }, 'pre_tokenizer.length: expected a whole number'],
  [
    'a scheme',
    { ...bpe({}), pre_tokenizer: { type: 'Metaspace', prepend_scheme: 'last' } },
    'prepend_scheme: expected',
  ],
  [
    'a flag',
    { ...bpe({}), pre_tokenizer: { type: 'ByteLevel', use_regex: 'no' } },
    'use_regex: expected true or false',
  ],
  ['a stripped text', { ...bpe({}), decoder: { type: 'Strip', start: 1, stop: 0 } }, 'decoder.content: expected text'],
  ['a joint', { ...bpe({}), decoder: { type: 'WordPiece' } }, 'decoder.prefix: expected text, got nothing'],
  ['a processor', { ...bpe({}), post_processor: { type: 'Sequence' } }, 'post_processor.processors: expected a list'],
  ['an option of a model', bpe({ byte_fallback: 1 }), 'model.byte_fallback: expected true or false, got 1'],
  [
    'a continuation',
    { model: { type: 'WordPiece', unk_token: 'a', vocab: { a: 0 } } },
    'model.continuing_subword_prefix: expected text, got nothing',
  ],
  [
    'an option of an added token',
    { ...bpe({}), added_tokens: [{ ...added(3, 'x'), lstrip: 'left' }] },
    'added token 0.lstrip: expected true or false, got "left"',
  ],
  ['a decoder', { ...bpe({}), decoder: { type: 'Odd' } }, 'Unknown Decoder type: Odd'],
  ['a text for a part', { ...bpe({}), decoder: 'ByteLevel' }, 'decoder: expected an object, got "ByteLevel"'],
])('%s is refused', (_, json, message) => {
  expect(() => new BpeTokenizer('bad.json', json)).toThrow(FormatError);
  expect(() => new BpeTokenizer('bad.json', json)).toThrow(message);
});
