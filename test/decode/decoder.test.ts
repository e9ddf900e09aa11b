/** Every way of feeding tokens to a decoder gives the logits of the model's whole forward. */
import { clone, full } from '../../lib/creation';
import { Decoder, type DecoderOptions, type WeightDType } from '../../lib/decode';
import { availableIsas, getIsa, memoryStats, setIsa } from '../../lib/device';
import { DisposedError, SffnError } from '../../lib/errors';
import { native } from '../../lib/native';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import { tensor } from '../../lib/tensor';
import { STRUCTURED } from '../support/structures';
import { difference, fullLogits, inPieces, randomIds, roundWeights, STRUCTURES, smallModel } from './support';

const F32 = 1e-5;
/** Inside of int8 products rows have 16 bits, an error of about 1e-4 in each. */
const INT8 = 5e-4;
/** Where pairs of bfloat16 are multiplied, rows of steps of several tokens are rounded to it, too. */
const toleranceOf = (dtype: 'bfloat16' | 'int8') => (dtype === 'int8' ? INT8 : getIsa() === 'avx512bf16' ? 3e-2 : F32);

async function compare(model: TransformerLM, options: DecoderOptions, tolerance: number) {
  using decoder = new Decoder(model, options);
  const ids = randomIds(66, 3);
  const expected = fullLogits(model, ids);
  // One token at a time, a few (skinny products), many (gemm), and pieces that cross pages.
  for (const lengths of [[...Array(66).keys()].map(() => 1), [3, 12, 1, 8, 5, 20, 1, 11, 5], [66], [31, 1, 1, 33]])
    expect(difference(await inPieces(decoder, ids, lengths), expected)).toBeLessThan(tolerance);
}

const isa = getIsa();
afterEach(() => setIsa(isa));

describe.each(availableIsas())('%s', (name) => {
  beforeEach(() => setIsa(name));

  test.each(Object.keys(STRUCTURES) as (keyof typeof STRUCTURES)[])('%s', async (structure) => {
    const model = smallModel({ ffn: STRUCTURES[structure] });
    await compare(model, {}, F32);
    await compare(model, { dispatch: 'merged' }, F32);
  });

  test.each(STRUCTURED)('%s with an activation between the factors', async (structure) => {
    for (const innerActivation of ['gelu', 'silu', 'relu'] as const) {
      const ffn = { ...STRUCTURES[structure], innerActivation };
      await compare(smallModel({ ffn }), {}, F32);
      // Such factors stay factors in every mode.
      await compare(smallModel({ ffn, activation: 'swiglu' }), { dispatch: 'merged' }, F32);
      for (const dtype of ['bfloat16', 'int8'] as const) {
        using decoder = new Decoder(smallModel({ ffn, dFF: 60 }), { dtype });
        const ids = randomIds(66, 3);
        const rounded = await inPieces(decoder, ids, [1, 3, 12, 20, 30]);
        const reference = roundWeights(smallModel({ ffn, dFF: 60 }), dtype);
        expect(difference(rounded, fullLogits(reference, ids))).toBeLessThan(toleranceOf(dtype));
      }
    }
  });

  test.each<[string, Partial<TransformerConfig>]>([
    ['grouped queries', { nKvHeads: 2 }],
    ['one key head, odd head count', { nHeads: 3, nKvHeads: 1, attnDim: 18 }],
    ['rms norm, swiglu, no biases', { norm: 'rms', activation: 'swiglu', bias: false }],
    ['swiglu in blocks', { activation: 'swiglu', ffn: STRUCTURES.blockshuffle }],
    ['silu in blocks', { activation: 'silu', ffn: STRUCTURES.blockshuffle }],
    ['heads of several vectors and a part', { nHeads: 2, nKvHeads: 1, attnDim: 168 }],
    ['no rotary positions', { ropeBase: 0, nHeads: 8, nKvHeads: 4 }],
    ['another rotary base', { ropeBase: 500 }],
    ['odd widths', { dModel: 23, nHeads: 1, attnDim: 22, dFF: 17, vocabSize: 37 }],
  ])('%s', async (_, overrides) => {
    const model = smallModel(overrides);
    await compare(model, {}, F32);
  });

  test.each(['bfloat16', 'int8'] as const)('%s weights', async (dtype) => {
    for (const ffn of Object.values(STRUCTURES)) {
      const model = smallModel({ ffn, dFF: 60 });
      // Merged, other numbers are rounded: these weights are large, so that two layers make much of it.
      await compare(model, { dtype, dispatch: 'merged' }, 0.3);
      // The same function as the whole model with rounded weights; inside of int8 products, rows have 16 bits.
      using decoder = new Decoder(model, { dtype });
      const ids = randomIds(66, 3);
      const rounded = await inPieces(decoder, ids, [1, 3, 12, 20, 30]);
      const reference = roundWeights(smallModel({ ffn, dFF: 60 }), dtype);
      expect(difference(rounded, fullLogits(reference, ids))).toBeLessThan(toleranceOf(dtype));
    }
  });
});

test('sequences of different lengths in one step', async () => {
  const model = smallModel({ ffn: STRUCTURES.lowrank, nKvHeads: 2 });
  using decoder = new Decoder(model);
  const texts = [randomIds(40, 1), randomIds(3, 2), randomIds(65, 4), randomIds(1, 5)];
  const sequences = texts.map(() => decoder.sequence());
  const rows: Float32Array[][] = texts.map(() => []);
  // Uneven pieces; a text that has ended takes no part.
  for (let round = 0; rows.some((own, i) => own.length < texts[i]!.length); round++) {
    const entries = texts.flatMap((ids, i) => {
      const piece = ids.slice(sequences[i]!.length).slice(0, 1 + ((round + i) % 4));
      return piece.length > 0 ? [{ i, sequence: sequences[i]!, ids: piece, logits: piece.length }] : [];
    });
    const made = await decoder.step(entries);
    for (const { i, ids } of entries) rows[i]!.push(...made.splice(0, ids.length));
  }
  for (const [i, ids] of texts.entries()) expect(difference(rows[i]!, fullLogits(model, ids))).toBeLessThan(F32);
  for (const sequence of sequences) sequence.dispose();
});

test('prefill in chunks gives the last row; the number of threads does not change a bit', async () => {
  const model = smallModel({ ffn: STRUCTURES.blockdense });
  using decoder = new Decoder(model, { prefillChunk: 13 });
  const ids = randomIds(60, 9);
  const threads = native.numThreads();
  const results: Float32Array[] = [];
  for (const count of [1, 2, 3]) {
    native.setNumThreads(count);
    using sequence = decoder.sequence();
    results.push(await decoder.prefill(sequence, ids));
  }
  native.setNumThreads(threads);
  expect(difference([results[0]!], fullLogits(model, ids).slice(-1))).toBeLessThan(F32);
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test('a sequence goes back and on from there', async () => {
  const model = smallModel({ ffn: STRUCTURES.lowrank });
  using decoder = new Decoder(model);
  using sequence = decoder.sequence();
  const [ids, others] = [randomIds(50, 1), randomIds(9, 2)];
  await decoder.step([{ sequence, ids }]);
  sequence.rewind(31);
  const rows = await decoder.step([{ sequence, ids: others, logits: 9 }]);
  expect(difference(rows, fullLogits(model, [...ids.slice(0, 31), ...others]).slice(31))).toBeLessThan(F32);
  expect(() => sequence.rewind(41)).toThrow(/at most 40 tokens, got 41/);
});

test('a step names the pages of its tokens only, whatever was left by a longer text or a step that failed', async () => {
  const model = smallModel({ ffn: STRUCTURES.lowrank });
  using decoder = new Decoder(model);
  using sequence = decoder.sequence();
  const [ids, others] = [randomIds(66, 1), randomIds(9, 2)];
  await decoder.step([{ sequence, ids }]);
  sequence.rewind(30);
  expect(sequence.reserve(2)).toHaveLength(1);
  expect(sequence.reserve(3)).toHaveLength(2);
  using other = decoder.sequence();
  expect(other.reserve(70)).toHaveLength(3);
  expect(other.reserve(1)).toHaveLength(1);
  const rows: Float32Array[] = [];
  for (const id of others) {
    const [row] = await decoder.step([sequence, other].map((one) => ({ sequence: one, ids: [id] })));
    rows.push(row!);
  }
  expect(difference(rows, fullLogits(model, [...ids.slice(0, 30), ...others]).slice(30))).toBeLessThan(F32);
});

test('pages are given back and used again', async () => {
  const model = smallModel();
  using decoder = new Decoder(model);
  const run = async () => {
    using sequence = decoder.sequence();
    await decoder.prefill(sequence, randomIds(40, 1));
    return decoder.stats().cacheBytes;
  };
  // 2 pages of 32 tokens, 2 layers, keys and values of 24 floats.
  expect(await run()).toBe(2 * 32 * 2 * 2 * 24 * 4);
  expect(await run()).toBe(2 * 32 * 2 * 2 * 24 * 4);
});

test('a sequence is in one step at a time, of its own decoder', async () => {
  const model = smallModel();
  using decoder = new Decoder(model);
  using other = new Decoder(model);
  using sequence = decoder.sequence();
  const ids = randomIds(12, 1);
  const entry = { sequence, ids: ids.slice(0, 5) };
  await expect(decoder.step([entry, entry])).rejects.toThrow(/expected different sequences/);
  await expect(other.step([entry])).rejects.toThrow(/expected a sequence of this decoder/);
  const first = decoder.step([entry]);
  await expect(decoder.step([entry])).rejects.toThrow(/expected one without a step in progress/);
  expect(() => sequence.rewind(0)).toThrow(/no step in progress/);
  await first;
  const [row] = await decoder.step([{ sequence, ids: ids.slice(5) }]);
  expect(difference([row!], fullLogits(model, ids).slice(-1))).toBeLessThan(F32);
});

test('what a caller’s objects say the second time counts for nothing', async () => {
  using decoder = new Decoder(smallModel());
  const honest = async () => decoder.step([{ sequence: decoder.sequence(), ids: [1, 2] }]);
  const expected = await honest();
  for (const times of [1, 2, 3, 4]) {
    /** The first answer `times` times, then another. */
    const changing = <T>(first: T, then: T) => {
      let asked = 0;
      return { enumerable: true, get: () => (asked++ < times ? first : then) };
    };
    const ids = Object.defineProperty([1, 2], 0, changing(1, 1e8));
    const long = Object.defineProperty(Int32Array.of(1, 2), 'length', changing(2, 1e6));
    const entry = () => ({ sequence: decoder.sequence(), ids: [1, 2] });
    const [text, other] = [entry(), entry()];
    for (const entries of [
      [{ ...entry(), ids }],
      [{ ...entry(), ids: long }],
      [Object.defineProperty(entry(), 'logits', changing(1, 1e5))],
      [Object.defineProperty(entry(), 'ids', changing([1, 2], [1e8]))],
      Object.defineProperty([text], 0, changing(text, { ...other, ids: [1e8] })),
    ])
      await decoder.step(entries).then(
        (logits) => expect(logits).toEqual(expected),
        (error) => expect(error).toBeInstanceOf(SffnError),
      );
  }
  const forged = decoder.sequence();
  Object.defineProperty(forged, 'length', { value: 1e6 });
  await expect(decoder.step([{ sequence: forged, ids: [1] }])).rejects.toThrow(SffnError);
  expect(await honest()).toEqual(expected);
});

test('a prompt of any length is one chunk', async () => {
  const config = { vocabSize: 2, dModel: 2, nLayers: 1, nHeads: 1, dFF: 1, seqLen: 130_000 };
  using decoder = new Decoder(new TransformerLM(config), { prefillChunk: 130_000 });
  // Nothing is computed: the error comes from native code, after all ids were handed over.
  const forged = decoder.sequence();
  Object.defineProperty(forged, 'length', { value: -1 });
  const step = decoder.step([{ sequence: forged, ids: new Uint8Array(130_000) }]);
  await expect(step).rejects.toThrow('decode_step: a sequence longer than the context');
});

test.each([Number.NaN, Number.POSITIVE_INFINITY])(
  'a weight that is %s is an error, not token 0 for ever',
  async (value) => {
    const model = smallModel({ ffn: STRUCTURES.lowrank });
    for (const [name, weight] of model.namedParameters()) {
      const honest = clone(weight);
      const spoilt = Float32Array.from(weight.toArray());
      spoilt[5] = value;
      weight.copyFrom(tensor(spoilt, weight.shape));
      using decoder = new Decoder(model);
      const sequence = decoder.sequence();
      // Of the embedding only the row of token 0 is spoilt.
      const step = decoder.step([
        { sequence: decoder.sequence(), ids: [1] },
        { sequence, ids: [1, 2, 0] },
      ]);
      await expect(step).rejects.toMatchObject({
        code: 'ERR_NOT_FINITE',
        message: expect.stringMatching(
          /^decoder: the logits after token \d of a sequence are not finite: that of id \d+ is /,
        ),
      });
      expect(sequence.length).toBe(0);
      if (weight.rank > 1)
        for (const dtype of ['bfloat16', 'int8'] as const)
          expect(() => new Decoder(model, { dtype })).toThrow(`tensor '${name}' is not finite: element 5 is ${value}`);
      weight.copyFrom(honest);
    }
  },
);

test('decoders of one model, in turns, use what its weights are then', async () => {
  const model = smallModel({ ffn: STRUCTURES.lowrank });
  const decoders = [new Decoder(model), new Decoder(model), new Decoder(model, { dispatch: 'merged' })];
  const ids = randomIds(20, 1);
  for (const factor of [1, 0.5]) {
    // None of those that are merged, which are copies.
    for (const [name, { data }] of model.namedParameters())
      if (/attention\.qkv|norm1/.test(name)) data.set(data.map((value) => value * factor));
    const expected = fullLogits(model, ids);
    for (const decoder of decoders)
      expect(difference(await inPieces(decoder, ids, [3, 1, 1, 15]), expected)).toBeLessThan(F32);
  }
  for (const decoder of decoders) decoder.dispose();
});

test.each<[string, (model: TransformerLM) => void]>([
  ['disposed', (model) => model.dispose()],
  ['replaced', ({ norm: { weight } }) => weight.adopt(full(weight.shape, 1))],
])('a decoder whose model was %s refuses to step, and its sequences are as before', async (_, change) => {
  const model = smallModel();
  using decoder = new Decoder(model);
  using sequence = decoder.sequence();
  await decoder.prefill(sequence, randomIds(40, 1));
  change(model);
  await expect(decoder.step([{ sequence, ids: [3] }])).rejects.toThrow(DisposedError);
  expect(sequence.length).toBe(40);
});

test('a sequence that outlives its decoder gives its memory back', async () => {
  const model = smallModel();
  const { allocated: before } = memoryStats();
  const decoder = new Decoder(model);
  const sequence = decoder.sequence();
  await decoder.prefill(sequence, randomIds(40, 1));
  decoder.dispose();
  expect(memoryStats().allocated).toBeGreaterThan(before);
  sequence.dispose();
  expect(memoryStats().allocated).toBe(before);
});

test('int8 weights take a quarter of the bytes, and bfloat16 ones half', () => {
  const model = smallModel({ dModel: 128, nHeads: 4, dFF: 512, vocabSize: 256 });
  const bytes = (dtype: WeightDType) => {
    using decoder = new Decoder(model, { dtype });
    return decoder.stats().weightBytes;
  };
  expect(bytes('bfloat16') / bytes('float32')).toBe(0.5);
  expect(bytes('int8') / bytes('float32')).toBeLessThan(0.26);
});
