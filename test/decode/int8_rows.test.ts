/** Rows that are rounded to int8 for products with int8 weights. */
import { Decoder, tune } from '../../lib/decode';
import { availableDevices, availableIsas, getIsa, kindOf, setIsa } from '../../lib/device';
import { OptionError } from '../../lib/errors';
import type { TransformerConfig } from '../../lib/nn';
import { checkInt8Rows, productOf, type RowsCase, rowsCase } from '../support/int8_rows';
import { difference, fullLogits, inPieces, randomIds, roundWeights, STRUCTURES, smallModel } from './support';

const isa = getIsa();
afterEach(() => setIsa(isa));

const INT8 = { dtype: 'int8', activations: 'int8' } as const;

/** Every value of x and of the weights is the same. */
function constantCase(rows: number, k: number, x: number, weight: number): RowsCase {
  return {
    ...{ rows, blocks: 1, features: 3, k },
    x: new Float32Array(rows * k).fill(x),
    weights: new Int8Array(3 * k).fill(weight),
    scales: new Float32Array(3).fill(1),
  };
}

describe.each(availableIsas())('%s', (name) => {
  beforeEach(() => setIsa(name));

  test('the integers are multiplied exactly: odd widths, rows and blocks', () => {
    checkInt8Rows();
  });

  test('sums hold the largest values, in rows of any length', () => {
    for (const rows of [1, 9])
      for (const k of [3, 4096, 2 ** 17, 2 ** 17 + 5])
        for (const [x, weight] of [
          [127, 127],
          [-127, 127],
          [127, -128],
          [-127, -128],
        ] as const)
          for (const value of productOf(constantCase(rows, k, x, weight)))
            expect(value / (x * weight * k)).toBeCloseTo(1, 6);
  });

  test('ties are rounded to even, and the largest value of a row is 127', () => {
    const values = [127, 0.5, 1.5, -0.5, -1.5, -2.5, 3.49, -126.51];
    const problem = { rows: 1, blocks: 1, features: 8, k: 8, x: Float32Array.from(values) };
    const weights = Int8Array.from({ length: 64 }, (_, i) => +(i % 9 === 0));
    const expected = [127, 0, 2, 0, -2, -2, 3, -127];
    const scales = new Float32Array(8).fill(1);
    expect([...productOf({ ...problem, weights, scales })].map((value) => value + 0)).toEqual(expected);
  });

  test('a value that is not finite is seen in its row and block, and only there', () => {
    for (const rows of [3, 12])
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const problem = rowsCase(rows, 1, 5, 40);
        problem.x[40 + 17] = bad;
        const finite = Array.from(productOf(problem), Number.isFinite);
        expect(finite).toEqual(Array.from(finite, (_, i) => i < 5 || i >= 10));
      }
  });

  test('a row of zeros gives zeros', () => {
    for (const rows of [2, 12]) {
      const problem = rowsCase(rows, 1, 5, 33);
      problem.x.fill(0, 0, 33);
      const y = productOf(problem);
      expect([...y.subarray(0, 5)].map(Math.abs)).toEqual([0, 0, 0, 0, 0]);
      expect(y[5]).not.toBe(0);
    }
  });

  test('logits have the same bits however many rows share a step', async () => {
    for (const [structure, overrides] of [
      ['dense', {}],
      ['lowrank', { activation: 'swiglu', norm: 'rms', bias: false }],
      ['blockshuffle', { nKvHeads: 2 }],
    ] as const) {
      using decoder = new Decoder(smallModel({ ffn: STRUCTURES[structure], dFF: 60, ...overrides }), INT8);
      const texts = Array.from({ length: 21 }, (_, i) => randomIds(5, i));
      const alone: Float32Array[] = [];
      for (const ids of texts) alone.push(...(await inPieces(decoder, ids, [1, 1, 1, 1, 1])));
      expect(await inPieces(decoder, texts[0]!, [5])).toEqual(alone.slice(0, 5));
      for (const count of [3, 8, 21]) {
        const sequences = texts.slice(0, count).map(() => decoder.sequence());
        const together = await decoder.step(sequences.map((sequence, i) => ({ sequence, ids: texts[i]!, logits: 5 })));
        expect(together).toEqual(alone.slice(0, 5 * count));
        for (const sequence of sequences) sequence.dispose();
      }
    }
  });

  test.each(Object.keys(STRUCTURES) as (keyof typeof STRUCTURES)[])(
    '%s: near the rounded weights',
    async (structure) => {
      const overrides: Partial<TransformerConfig> = { ffn: STRUCTURES[structure], dFF: 60 };
      const ids = randomIds(66, 3);
      const expected = fullLogits(roundWeights(smallModel(overrides), 'int8'), ids);
      const of = async (options: object) => {
        using decoder = new Decoder(smallModel(overrides), { dtype: 'int8', ...options });
        return difference(await inPieces(decoder, ids, [1, 3, 12, 20, 30]), expected);
      };
      const [exact, rounded] = [await of({}), await of(INT8)];
      // The option changes something, and not much: these weights are large.
      expect(rounded).toBeGreaterThan(4 * exact);
      expect(rounded).toBeLessThan(0.15);
    },
  );
});

test('the option is float32 unless asked for, and refused by its name where it can do nothing', () => {
  const model = smallModel();
  using plain = new Decoder(model, { dtype: 'int8' });
  using decoder = new Decoder(model, INT8);
  expect([plain.activations, decoder.activations]).toEqual(['float32', 'int8']);
  const message = /activations: expected 'float32' with weights in/;
  for (const dtype of ['float32', 'bfloat16'] as const) {
    expect(() => new Decoder(model, { dtype, activations: 'int8' })).toThrow(OptionError);
    expect(() => new Decoder(model, { dtype, activations: 'int8' })).toThrow(message);
    expect(() => tune(model, { dtype, activations: 'int8' })).toThrow(message);
  }
  expect(() => new Decoder(model, { dtype: 'int8', activations: 'int4' as never })).toThrow(/decoder: activations/);
});

for (const device of availableDevices().filter((name) => kindOf(name) !== 'cpu'))
  test(`the option is refused on ${device}`, () => {
    const model = smallModel().to(device);
    expect(() => new Decoder(model, INT8)).toThrow(/activations: expected 'float32' on device/);
    expect(() => tune(model, INT8)).toThrow(/activations: expected 'float32' on device/);
  });

test('auto looks for measurements with rows of that type', async () => {
  const model = smallModel({ ffn: { structure: 'lowrank', rank: 7 }, dFF: 60, nLayers: 1 });
  const table = tune(model, { ...INT8, tokens: [1], milliseconds: 1 });
  expect([...table.keys()].every((key) => key.includes('int8 with int8 rows'))).toBe(true);
  const merged = [{ tokens: 1, factored: 2, merged: 1 }];
  const always = new Map([...table.keys()].map((key) => [key, merged]));
  for (const [activations, count] of [
    ['int8', 2],
    ['float32', 0],
  ] as const) {
    using decoder = new Decoder(model, { dtype: 'int8', activations, dispatch: 'auto', table: always });
    await inPieces(decoder, [1, 2], [2]);
    expect(decoder.stats().dispatch.merged).toBe(count);
  }
});
