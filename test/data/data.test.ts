import { constants } from 'node:buffer';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError, FormatError, IndexError, OptionError } from '../../lib';
import {
  BatchLoader,
  evaluationBatches,
  ngramBaselines,
  readDocuments,
  splitDocuments,
  TokenFile,
  TokenWriter,
  tokenDTypeFor,
  writeTokens,
} from '../../lib/data';
import { permutation } from '../../lib/data/permutation';
import { ROW_ORDERS } from '../../lib/data/row_order';
import { ByteTokenizer } from '../../lib/text';

const folder = mkdtempSync(join(tmpdir(), 'sffn-data-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...parts: string[]) => join(folder, ...parts);

function tokens(name: string, ids: ArrayLike<number>, dtype: 'uint16' | 'uint32' = 'uint16'): TokenFile {
  const writer = new TokenWriter(at(name), dtype);
  writer.write(ids);
  writer.close();
  return new TokenFile(at(name), dtype);
}
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('token files', () => {
  test.each(['uint16', 'uint32'] as const)('%s ids come back, in parts and pieces', (dtype) => {
    using file = tokens(`ids-${dtype}`, [5, 0, 65535, 7], dtype);
    expect(file.length).toBe(4);
    expect([...file.read(1, 2)]).toEqual([0, 65535]);
    expect([...file.pieces(3)].map((piece) => [...piece])).toEqual([[5, 0, 65535], [7]]);
  });

  test('the dtype follows the vocabulary', () => {
    expect([257, 65536, 65537].map(tokenDTypeFor)).toEqual(['uint16', 'uint16', 'uint32']);
  });

  test('what cannot be is refused', () => {
    expect(() => new TokenFile(at('none'))).toThrow(FileError);
    writeFileSync(at('odd'), new Uint8Array(3));
    expect(() => new TokenFile(at('odd'))).toThrow(FormatError);
    using file = tokens('few', [1, 2]);
    expect(() => file.read(1, 2)).toThrow(IndexError);
    expect(() => file.read(-1, 1)).toThrow(IndexError);
    const writer = new TokenWriter(at('big'), 'uint16');
    expect(() => writer.write([1, 65536])).toThrow('token 1: expected an id of 0 .. 65535, got 65536');
    writer.abort();
    expect(() => new TokenFile(at('big'))).toThrow(FileError);
  });
});

describe('batches', () => {
  const options = { batchSize: 2, seqLen: 3, vocabSize: 100 };

  test('targets are the inputs one token further', () => {
    using file = tokens('hundred', range(100));
    const { inputs, targets, rows } = new BatchLoader(file, { ...options, seed: 4 }).next();
    expect(rows).toBe(2);
    expect([...targets]).toEqual([...inputs].map((id) => id + 1));
  });

  test('in sequence every token but the first is a target once, then it starts again', () => {
    using file = tokens('thirteen', range(13));
    const loader = new BatchLoader(file, { ...options, order: 'sequential' });
    const seen = [loader.next(), loader.next()].flatMap(({ targets }) => [...targets]);
    expect(seen).toEqual(range(13).slice(1));
    expect([...loader.next().inputs]).toEqual(range(6));
  });

  test.each(ROW_ORDERS)('a restored %s loader goes on as before', (order) => {
    using file = tokens('long', range(90));
    const loader = new BatchLoader(file, { ...options, order, seed: 9 });
    loader.next();
    const copy = new BatchLoader(file, { ...options, order, seed: 9 });
    copy.restore(loader.state());
    for (let i = 0; i < 3; i++) expect(copy.next()).toEqual(loader.next());
  });

  test('shuffled epochs take each row once, each in another order, which the seed decides', () => {
    using file = tokens('shuffled', range(61));
    const epochs = (seed: number, count: number): number[][] => {
      const loader = new BatchLoader(file, { ...options, batchSize: 20, order: 'shuffled', seed });
      return Array.from({ length: count }, () => [...loader.next().inputs].filter((_, i) => i % 3 === 0));
    };
    const rows = range(20).map((row) => row * 3);
    const taken = epochs(5, 6);
    for (const epoch of taken) expect([...epoch].sort((a, b) => a - b)).toEqual(rows);
    expect(new Set([...taken, ...epochs(6, 6), rows].map(String)).size).toBe(13);
    expect(epochs(5, 6)).toEqual(taken);
  });

  test.each([1, 2, 3, 16, 17, 1000])('the permutation of %i numbers is one, in every epoch', (count) => {
    for (const epoch of [0, 1, 7]) {
      const at = permutation(count, 3, epoch);
      expect(
        range(count)
          .map(at)
          .sort((a, b) => a - b),
      ).toEqual(range(count));
    }
  });

  test('a permutation puts every number anywhere, about equally often, also beyond 32 bits', () => {
    const count = 7;
    const times = Array.from({ length: count }, () => new Array<number>(count).fill(0));
    const draws = 3500;
    for (let seed = 0; seed < draws; seed++) {
      const at = permutation(count, seed, 0);
      for (let i = 0; i < count; i++) times[i]![at(i)]!++;
    }
    // 500 each, with a standard deviation of 21.
    for (const often of times.flat()) expect(Math.abs(often - draws / count)).toBeLessThan(100);
    const long = permutation(2 ** 45 - 3, 1, 2);
    const some = range(1000).map((i) => long(2 ** 44 + i));
    expect(new Set(some).size).toBe(1000);
    expect(some.every((at) => Number.isInteger(at) && at >= 0 && at < 2 ** 45 - 3)).toBe(true);
    expect(some.filter((at) => at >= 2 ** 44).length).toBeGreaterThan(400);
  });

  test('random rows reach both ends of the file', () => {
    using file = tokens('ends', range(8));
    const loader = new BatchLoader(file, { ...options, batchSize: 200 });
    const { inputs } = loader.next();
    const starts = new Set([...inputs].filter((_, i) => i % 3 === 0));
    expect([...starts].sort()).toEqual([0, 1, 2, 3, 4]);
  });

  test('evaluation takes each row once, the last batch shorter', () => {
    using file = tokens('eval', range(11));
    const batches = [...evaluationBatches(file, options)];
    expect(batches.map(({ rows }) => rows)).toEqual([2, 1]);
    expect(batches.flatMap(({ targets }) => [...targets])).toEqual(range(10).slice(1));
    expect([...evaluationBatches(file, { ...options, maxRows: 1 })].length).toBe(1);
  });

  test('a file that is too short, or of another vocabulary, is refused', () => {
    using short = tokens('short', [1, 2, 3]);
    expect(() => new BatchLoader(short, options)).toThrow(FormatError);
    expect(() => [...evaluationBatches(short, options)]).toThrow(FormatError);
    using foreign = tokens('foreign', [1, 2, 300, 4, 5]);
    const loader = new BatchLoader(foreign, { ...options, order: 'sequential' });
    expect(() => loader.next()).toThrow('token 2: expected an id below 100, the vocabulary, got 300');
    expect(() => new BatchLoader(foreign, { ...options, batchSize: 0 })).toThrow(OptionError);
  });
});

describe('corpus', () => {
  test('a folder gives its text files in order, at any depth', () => {
    mkdirSync(at('corpus', 'b'), { recursive: true });
    writeFileSync(at('corpus', 'z.txt'), 'last');
    writeFileSync(at('corpus', 'a.md'), 'first');
    writeFileSync(at('corpus', 'b', 'c.txt'), 'middle');
    writeFileSync(at('corpus', 'image.png'), '\0');
    writeFileSync(at('corpus', 'empty.txt'), ' \n');
    expect(readDocuments(at('corpus')).map(({ text }) => text)).toEqual(['first', 'middle', 'last']);
    expect(readDocuments(at('corpus', 'z.txt'))).toHaveLength(1);
  });

  test('links lead to files and folders; what several lead to is one document, and circles end', () => {
    mkdirSync(at('linked', 'a'), { recursive: true });
    mkdirSync(at('elsewhere', 'deep'), { recursive: true });
    writeFileSync(at('linked', 'a', 'own.txt'), 'own');
    writeFileSync(at('elsewhere', 'far.txt'), 'far');
    writeFileSync(at('elsewhere', 'deep', 'odd.name'), 'odd');
    symlinkSync(at('elsewhere'), at('linked', 'b'));
    symlinkSync(join('..', 'elsewhere', 'deep', 'odd.name'), at('linked', 'c.txt'));
    symlinkSync(at('elsewhere', 'far.txt'), at('linked', 'd.txt'));
    symlinkSync(at('linked'), at('linked', 'a', 'circle'));
    symlinkSync(at('linked', 'a'), at('elsewhere', 'deep', 'back'));
    const documents = readDocuments(at('linked'));
    expect(documents.map(({ text }) => text)).toEqual(['own', 'far', 'odd']);
    expect(documents[1]!.name).toBe(at('linked', 'b', 'far.txt'));
  });

  test('links to nothing and to themselves are refused by their names', () => {
    for (const [name, to, message] of [
      ['nothing', 'nowhere', 'it is a link to nothing'],
      ['itself', 'itself', 'its links lead in a circle'],
    ] as const) {
      mkdirSync(at(`broken-${name}`));
      writeFileSync(at(`broken-${name}`, 'text.txt'), 'text');
      symlinkSync(to, at(`broken-${name}`, name));
      expect(() => readDocuments(at(`broken-${name}`))).toThrow(
        `cannot read ${at(`broken-${name}`, name)}: ${message}`,
      );
    }
  });

  test('a file of more text than there can be is refused by name', () => {
    writeFileSync(at('large.txt'), 'x');
    truncateSync(at('large.txt'), constants.MAX_STRING_LENGTH + 1);
    expect(() => readDocuments(at('large.txt'))).toThrow(
      `${at('large.txt')}: ${constants.MAX_STRING_LENGTH + 1} bytes`,
    );
    truncateSync(at('large.txt'), 2 ** 31 + 1);
    expect(() => readDocuments(at('large.txt'))).toThrow(`cannot read ${at('large.txt')}: the file is too large`);
    rmSync(at('large.txt'));
  });

  test('what holds no text is refused', () => {
    mkdirSync(at('none'), { recursive: true });
    expect(() => readDocuments(at('none'))).toThrow('no .txt');
    expect(() => readDocuments(at('missing'))).toThrow(FileError);
    expect(() => readDocuments(at('corpus', 'image.png'))).toThrow('it is not text');
    expect(() => readDocuments(at('corpus', 'empty.txt'))).toThrow('it holds no text');
  });

  test('text is UTF-8 without its byte order mark; other bytes are refused by name and line', () => {
    writeFileSync(at('mark.txt'), '\uFEFFtext \uFEFF\uFFFD');
    expect(readDocuments(at('mark.txt'))[0]!.text).toBe('text \uFEFF\uFFFD');
    writeFileSync(at('latin.txt'), Buffer.from('one\ntwo\ncaf\xe9 three\n', 'latin1'));
    expect(() => readDocuments(at('latin.txt'))).toThrow(FormatError);
    expect(() => readDocuments(at('latin.txt'))).toThrow('latin.txt: it is not UTF-8 text (line 3)');
    writeFileSync(at('cut.txt'), Buffer.from('😀').subarray(0, 3));
    expect(() => readDocuments(at('cut.txt'))).toThrow('cut.txt: it is not UTF-8 text (line 1)');
    for (const bytes of [Buffer.from('\uFEFFtext', 'utf16le'), Buffer.from('\uFEFFtext', 'utf16le').swap16()]) {
      writeFileSync(at('wide.txt'), bytes);
      expect(() => readDocuments(at('wide.txt'))).toThrow('wide.txt: it is UTF-16, not UTF-8');
    }
  });

  test.each(['😀', '👩‍👩‍👧‍👦', 'e\u0301', '🇩🇪'])('a text without lines is cut between characters: %s', (character) => {
    for (const count of [2, 19, 40, 333])
      for (const start of ['', 'x', 'xy']) {
        const text = start + character.repeat(count);
        const { train, validation } = splitDocuments([{ name: 'one', text }]);
        const [before, after] = [train[0]!.text, validation[0]!.text];
        expect(before + after).toBe(text);
        expect(after).toBe(character.repeat(after.length / character.length));
      }
  });

  test('whole documents are held out; one alone is cut at a line end', () => {
    const documents = range(25).map((i) => ({ name: String(i), text: `text ${i}` }));
    const { train, validation } = splitDocuments(documents);
    expect(validation.map(({ name }) => name)).toEqual(['9', '19']);
    expect(train).toHaveLength(23);
    const lines = range(100)
      .map((i) => `line ${i}\n`)
      .join('');
    const cut = splitDocuments([{ name: 'one', text: lines }]);
    expect(cut.train[0]!.text + cut.validation[0]!.text).toBe(lines);
    expect(cut.validation[0]!.text.startsWith('line')).toBe(true);
    expect(splitDocuments(documents.slice(0, 2)).validation).toHaveLength(1);
    expect(() => splitDocuments(documents, Number.NaN)).toThrow(OptionError);
  });

  test('documents end with the end of text', () => {
    const written = writeTokens(
      at('docs.bin'),
      [
        { name: 'a', text: 'hé' },
        { name: 'b', text: 'x' },
      ],
      new ByteTokenizer(),
    );
    expect([written.tokens, written.bytes, written.documents]).toEqual([6, 4, 2]);
    using file = new TokenFile(written.path, written.dtype);
    expect([...file.read(0, 6)]).toEqual([104, 195, 169, 256, 120, 256]);
  });
});

test('n-gram losses are those of the definition', () => {
  using train = tokens('ngram-train', [0, 1, 0, 1, 0, 2]);
  using validation = tokens('ngram-validation', [0, 1, 2]);
  // Unigrams, one added to each: 4, 3, 2, 1 of 10. After 0: 1 twice, 2 once; after 1: 0 twice.
  const [p1, p2] = [3 / 10, 2 / 10];
  const afterZero = (2 - 0.75) / 3 + ((0.75 * 2) / 3) * p1;
  const afterOne = ((0.75 * 1) / 2) * p2;
  const { unigram, bigram } = ngramBaselines(train, validation, 4);
  expect(unigram).toBeCloseTo(-(Math.log(p1) + Math.log(p2)) / 2, 12);
  expect(bigram).toBeCloseTo(-(Math.log(afterZero) + Math.log(afterOne)) / 2, 12);
});
