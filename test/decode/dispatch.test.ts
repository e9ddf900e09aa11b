import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Crossover, Decoder, loadTable, machineFingerprint, saveTable, tune } from '../../lib/decode';
import { prefersMerged } from '../../lib/decode/table';
import { getIsa, getNumThreads } from '../../lib/device';
import { OptionError } from '../../lib/errors';
import { Guidance, TransformerLM } from '../../lib/nn';
import { difference, fullLogits, randomIds, smallModel } from './support';

const folder = mkdtempSync(join(tmpdir(), 'decode-'));
afterAll(() => rmSync(folder, { recursive: true }));

const model = smallModel({ ffn: { structure: 'lowrank', rank: 7 } });
const IDS = randomIds(40, 1);

/** Factors are faster up to 8 tokens, the merged matrix from 16 on. */
const CROSSOVER: Crossover[] = [1, 8, 16, 64].map((tokens) => ({ tokens, factored: tokens, merged: 8 + tokens / 4 }));

/** The two layer shapes of `smallModel`, as the table names them. */
const table = (fc1: Crossover[], fc2: Crossover[]) => {
  const end = `float32 ${getNumThreads()} threads ${getIsa()}`;
  return new Map([
    [`1,7,24,1,36,7 ${end}`, fc1],
    [`1,7,36,1,24,7 ${end}`, fc2],
  ]);
};

async function statsAfter(decoder: Decoder, lengths: readonly number[]) {
  using sequence = decoder.sequence();
  const rows: Float32Array[] = [];
  for (const length of lengths) {
    const ids = IDS.slice(sequence.length, sequence.length + length);
    rows.push(...(await decoder.step([{ sequence, ids, logits: length }])));
  }
  expect(difference(rows, fullLogits(model, IDS.slice(0, rows.length)))).toBeLessThan(1e-5);
  return decoder.stats().dispatch;
}

test.each([
  [1, false],
  [8, false],
  [12, false],
  [16, true],
  [40, true],
  [999, true],
])('at %d tokens', (tokens, merged) => {
  expect(prefersMerged(CROSSOVER, tokens)).toBe(merged);
});

test('what is not measured, or hardly faster, is not merged', () => {
  expect(prefersMerged(undefined, 1)).toBe(false);
  expect(prefersMerged([], 1)).toBe(false);
  expect(prefersMerged([{ tokens: 1, factored: 100, merged: 98 }], 1)).toBe(false);
});

test('auto chooses by layer shape and token count, and counts', async () => {
  const never = CROSSOVER.map((entry) => ({ ...entry, merged: 1000 }));
  using decoder = new Decoder(model, { dispatch: 'auto', table: table(CROSSOVER, never) });
  // Two blocks of two layers: fc1 merged in the piece of 20, never fc2.
  expect(await statsAfter(decoder, [1, 20, 1])).toEqual({
    factored: 4 + 2 + 4,
    merged: 2,
    overBudget: 0,
    mergedBytes: 2 * 24 * 36 * 4,
  });
});

test('where factors always win, nothing is merged', async () => {
  const never = CROSSOVER.map((entry) => ({ ...entry, merged: entry.factored * 2 }));
  using decoder = new Decoder(model, { dispatch: 'auto', table: table(never, never) });
  expect(await statsAfter(decoder, [1, 20])).toMatchObject({ merged: 0, mergedBytes: 0 });
});

test('a budget limits the merged copies', async () => {
  const one = 24 * 36 * 4;
  using decoder = new Decoder(model, { dispatch: 'merged', mergeBudget: 2.5 * one });
  expect(await statsAfter(decoder, [1, 20])).toEqual({ factored: 4, merged: 4, overBudget: 4, mergedBytes: 2 * one });
  using none = new Decoder(model, { dispatch: 'merged', mergeBudget: 0 });
  expect(await statsAfter(none, [3])).toMatchObject({ merged: 0, overBudget: 4 });
});

test('factors with an activation between them are neither merged nor measured', async () => {
  const activated = smallModel({ ffn: { structure: 'lowrank', rank: 7, innerActivation: 'silu' } });
  for (const dispatch of ['merged', 'auto'] as const) {
    using decoder = new Decoder(activated, { dispatch, table: table(CROSSOVER, CROSSOVER) });
    using sequence = decoder.sequence();
    const rows = await decoder.step([{ sequence, ids: IDS, logits: IDS.length }]);
    expect(difference(rows, fullLogits(activated, IDS))).toBeLessThan(1e-5);
    expect(decoder.stats().dispatch).toEqual({ factored: 4, merged: 0, overBudget: 0, mergedBytes: 0 });
  }
  expect(tune(activated, { tokens: [1], milliseconds: 0.1 }).size).toBe(0);
});

test('a guide beside factors with an activation between them cannot be decoded', () => {
  const { config } = smallModel({ ffn: { structure: 'lowrank', rank: 7, innerActivation: 'silu' } });
  const guided = new TransformerLM(config, { guidance: new Guidance({ steps: 2 }) });
  expect(() => new Decoder(guided)).toThrow(OptionError);
  expect(() => new Decoder(guided)).toThrow('decoder: a layer with a guide: innerActivation');
});

test('tune measures every layer shape at every count, unless it is known', () => {
  const options = { tokens: [16, 1, 1], milliseconds: 0.1 };
  const measured = tune(model, options);
  expect([...measured.keys()]).toEqual([...table([], []).keys()]);
  for (const entries of measured.values()) {
    expect(entries.map(({ tokens }) => tokens)).toEqual([1, 16]);
    for (const { factored, merged } of entries) expect(Math.min(factored, merged)).toBeGreaterThan(0);
  }
  expect(tune(model, { ...options, known: measured }).size).toBe(0);
  expect(() => tune(model, { tokens: [0] })).toThrow(/tune: tokens/);
  expect(() => tune(smallModel(), { ...options, dtype: 'int8' })).not.toThrow();
});

describe('the file', () => {
  const path = join(folder, 'tables', 'crossovers.json');

  test('takes only what a table holds', () => {
    for (const wrong of [new Map([['a', 1]]), new Map([['a', [{ tokens: 1 }]]]), {}, null])
      expect(() => saveTable(wrong as never, path)).toThrow(/^saveTable: table: /);
    expect(existsSync(path)).toBe(false);
  });

  test('keeps what other machines and earlier runs measured', () => {
    expect(loadTable(path).size).toBe(0);
    saveTable(new Map([['a', CROSSOVER]]), path);
    const file = JSON.parse(readFileSync(path, 'utf8'));
    file.machines['another machine'] = { b: CROSSOVER };
    writeFileSync(path, JSON.stringify(file));
    saveTable(new Map([['c', CROSSOVER]]), path);
    expect([...loadTable(path).keys()]).toEqual(['a', 'c']);
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')).machines)).toEqual([
      machineFingerprint(),
      'another machine',
    ]);
  });

  test.each([
    ['no JSON', '{"format'],
    ['another format', '{"format":"x","version":1,"machines":{}}'],
    ['a later version', '{"format":"structured-ffn crossovers","version":2,"machines":{}}'],
    ['no machines', '{"format":"structured-ffn crossovers","version":1}'],
    [
      'times that are none',
      '{"format":"structured-ffn crossovers","version":1,"machines":{"m":{"k":[{"tokens":1,"factored":-1,"merged":2}]}}}',
    ],
  ])('%s: refused, and kept beside a new one', (_, text) => {
    const corrupt = join(folder, 'corrupt.json');
    writeFileSync(corrupt, text);
    expect(() => loadTable(corrupt)).toThrow(/corrupt\.json: it is not .*structured-ffn tune/);
    saveTable(new Map([['a', CROSSOVER]]), corrupt);
    expect(loadTable(corrupt).get('a')).toEqual(CROSSOVER);
    expect(readFileSync(`${corrupt}.corrupt`, 'utf8')).toBe(text);
    expect(existsSync(corrupt)).toBe(true);
  });
});
