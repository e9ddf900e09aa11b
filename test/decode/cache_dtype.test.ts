/** Keys and values that are kept in bfloat16: rounded once, as they are cached; all else is as with float32. */
import { Decoder, type DecodeSequence } from '../../lib/decode';
import { PAGE_TOKENS, PagePool } from '../../lib/decode/cache';
import { availableIsas, getIsa, memoryStats, setIsa } from '../../lib/device';
import { native } from '../../lib/native';
import type { TransformerConfig, TransformerLM } from '../../lib/nn';
import type { Storage } from '../../lib/storage';
import { type Tensor, tensor } from '../../lib/tensor';
import { difference, fullLogits, inPieces, randomIds, STRUCTURES, smallModel, toBf16 } from './support';

const F32 = 1e-5;
const BF16 = { cacheDtype: 'bfloat16' } as const;

/** What was cached by the steps of one sequence, widened. */
class Cache {
  private constructor(
    readonly model: TransformerLM,
    readonly pages: readonly Float32Array[],
  ) {}

  /** @param run the steps of one sequence. */
  static async of<R>(model: TransformerLM, run: () => Promise<R>): Promise<[R, Cache]> {
    const take = jest.spyOn(PagePool.prototype, 'take');
    try {
      const result = await run();
      return [
        result,
        new Cache(
          model,
          take.mock.results.map(({ value }) => widened(value as Storage)),
        ),
      ];
    } finally {
      take.mockRestore();
    }
  }

  /** A key (0) or value (1) of one token. */
  at(layer: number, head: number, kind: 0 | 1, position: number): Float32Array {
    const { nKvHeads, headSize } = this.model.config;
    const row = ((layer * nKvHeads + head) * 2 + kind) * PAGE_TOKENS + (position % PAGE_TOKENS);
    return this.pages[Math.floor(position / PAGE_TOKENS)]!.subarray(row * headSize, (row + 1) * headSize);
  }
}

const bitsOf = (page: Storage): Uint16Array => page.array as Uint16Array;
const widened = (page: Storage): Float32Array =>
  new Float32Array(Uint32Array.from(bitsOf(page), (bits) => bits << 16).buffer);

/** x [head size] turned for its position, in float64. */
function turned(x: Float32Array, position: number, base: number): Float64Array {
  const half = x.length / 2;
  return Float64Array.from(x, (value, i) => {
    if (base === 0) return value;
    const angle = position * base ** (-(i % half) / half);
    return value * Math.cos(angle) + (i < half ? -x[i + half]! : x[i - half]!) * Math.sin(angle);
  });
}

/** Whether `actual` is `exact`, which is known up to `slack`, rounded to the nearest bfloat16. */
const isRounded = (actual: Float32Array, exact: Float64Array, slack: number): boolean =>
  exact.every((value, i) => toBf16(value - slack) <= actual[i]! && actual[i]! <= toBf16(value + slack));

/** Attention in float64 over what was cached, which must be the layer's own keys and values, rounded. */
function attended(cache: Cache, layer: number, qkv: Tensor): Float32Array {
  const { nHeads, nKvHeads, headSize, ropeBase } = cache.model.config;
  const [, tokens = 0, width = 0] = qkv.shape;
  const rows = qkv.toArray() as Float32Array;
  const slack = F32 * Math.max(...Array.from(rows, Math.abs));
  const y = new Float64Array(tokens * nHeads * headSize);
  for (let t = 0; t < tokens; t++) {
    const of = (slot: number) => rows.subarray(t * width + slot * headSize, t * width + (slot + 1) * headSize);
    for (let head = 0; head < nKvHeads; head++) {
      const [key, value] = [turned(of(nHeads + head), t, ropeBase), Float64Array.from(of(nHeads + nKvHeads + head))];
      const rounded = [
        isRounded(cache.at(layer, head, 0, t), key, slack),
        isRounded(cache.at(layer, head, 1, t), value, slack),
      ];
      expect({ layer, t, head, rounded }).toEqual({ layer, t, head, rounded: [true, true] });
    }
    for (let head = 0; head < nHeads; head++) {
      const query = turned(of(head), t, ropeBase);
      const kvHead = Math.floor((head * nKvHeads) / nHeads);
      const weights = Float64Array.from({ length: t + 1 }, (_, at) => {
        const key = cache.at(layer, kvHead, 0, at);
        return Math.exp(query.reduce((sum, value, i) => sum + value * key[i]!, 0) / Math.sqrt(headSize));
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const [at, weight] of weights.entries())
        for (const [i, value] of cache.at(layer, kvHead, 1, at).entries())
          y[(t * nHeads + head) * headSize + i]! += (weight / total) * value;
    }
  }
  return Float32Array.from(y);
}

/** Logits of a text whose layers attend to what was cached. */
function logitsOver(cache: Cache, ids: readonly number[]): Float32Array[] {
  const { model } = cache;
  const spies = model.blocks.map(({ attention }, layer) =>
    jest.spyOn(attention, 'forward').mockImplementation((x, options) => {
      const y = attended(cache, layer, attention.qkv.forward(x));
      return attention.out.forward(tensor(y, [1, ids.length, y.length / ids.length]), options);
    }),
  );
  try {
    return fullLogits(model, ids);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const isa = getIsa();
afterEach(() => setIsa(isa));

describe.each(availableIsas())('%s', (name) => {
  beforeEach(() => setIsa(name));

  test.each<[string, Partial<TransformerConfig>]>([
    ['every head with keys of its own', {}],
    ['grouped queries', { nKvHeads: 2 }],
    ['one key head, odd head count', { nHeads: 3, nKvHeads: 1, attnDim: 18 }],
    ['heads of several vectors and a part', { nHeads: 2, nKvHeads: 1, attnDim: 168 }],
    ['heads of whole vectors', { nHeads: 2, nKvHeads: 1, attnDim: 128 }],
    ['no rotary positions, odd head size', { ropeBase: 0, nHeads: 3, attnDim: 21 }],
    ['odd halves of a head', { nHeads: 2, attnDim: 44, dModel: 23 }],
  ])('float64 over the rounded keys and values: %s', async (_, overrides) => {
    const model = smallModel(overrides);
    using decoder = new Decoder(model, BF16);
    const ids = randomIds(66, 3);
    // One token at a time, many at once, and pieces that cross pages.
    for (const lengths of [[...Array(66).keys()].map(() => 1), [66], [31, 1, 1, 12, 21]]) {
      const [rows, cache] = await Cache.of(model, () => inPieces(decoder, ids, lengths));
      expect(difference(rows, logitsOver(cache, ids))).toBeLessThan(F32);
    }
  });
});

/** Logits of each token, fed one by one: no sum depends on how many are fed at once. */
async function oneByOne(decoder: Decoder, sequence: DecodeSequence, ids: readonly number[]): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (const id of ids) rows.push(...(await decoder.step([{ sequence, ids: [id] }])));
  return rows;
}

test('a sequence that goes back and on gives the bits of one that never had those tokens', async () => {
  using decoder = new Decoder(smallModel({ ffn: STRUCTURES.lowrank, nKvHeads: 2 }), BF16);
  using sequence = decoder.sequence();
  using other = decoder.sequence();
  const [begin, dropped, rest] = [randomIds(31, 1), randomIds(15, 2), randomIds(9, 4)];
  await oneByOne(decoder, sequence, [...begin, ...dropped]);
  sequence.rewind(31);
  await oneByOne(decoder, other, begin);
  expect(await oneByOne(decoder, sequence, rest)).toEqual(await oneByOne(decoder, other, rest));
});

test('what a page had before, past the tokens of its sequence, does not matter', async () => {
  const take = jest.spyOn(PagePool.prototype, 'take');
  using decoder = new Decoder(smallModel(), BF16);
  const run = () => inPieces(decoder, randomIds(37, 1), [33, 1, 1, 1, 1]);
  const first = await run();
  for (const { value } of take.mock.results) bitsOf(value as Storage).fill(0x7fc0); // NaN
  take.mockRestore();
  expect(await run()).toEqual(first);
});

test('several sequences, and several threads, give the bits of one alone', async () => {
  using decoder = new Decoder(smallModel({ nKvHeads: 2 }), BF16);
  const texts = [randomIds(40, 1), randomIds(3, 2), randomIds(33, 4)];
  const alone: Float32Array[] = [];
  for (const ids of texts) {
    using sequence = decoder.sequence();
    alone.push(...(await decoder.step([{ sequence, ids }])));
  }
  const threads = native.numThreads();
  for (const count of [1, 2, 3]) {
    native.setNumThreads(count);
    const sequences = texts.map(() => decoder.sequence());
    for (const [i, ids] of texts.entries())
      expect((await decoder.step([{ sequence: sequences[i]!, ids }]))[0]).toEqual(alone[i]);
    const next = () => decoder.step(sequences.map((sequence, i) => ({ sequence, ids: [i] })));
    const together = await next();
    for (const [i, sequence] of sequences.entries()) {
      sequence.rewind(texts[i]!.length);
      const [row] = await decoder.step([{ sequence, ids: [i] }]);
      expect(difference([together[i]!], [row!])).toBeLessThan(F32);
      sequence.dispose();
    }
  }
  native.setNumThreads(threads);
});

test('it takes half the memory of float32', async () => {
  const model = smallModel();
  const taken = async (cacheDtype: 'float32' | 'bfloat16' | undefined) => {
    using decoder = new Decoder(model, { cacheDtype });
    expect(decoder.cacheDtype).toBe(cacheDtype ?? 'float32');
    const { allocated: before } = memoryStats();
    using sequence = decoder.sequence();
    await decoder.prefill(sequence, randomIds(40, 1));
    return { cacheBytes: decoder.stats().cacheBytes, allocated: memoryStats().allocated - before };
  };
  // 2 pages of 32 tokens, 2 layers, keys and values of 24 numbers.
  const bytes = 2 * 32 * 2 * 2 * 24 * 4;
  expect(await taken(undefined)).toEqual({ cacheBytes: bytes, allocated: bytes });
  expect(await taken('float32')).toEqual({ cacheBytes: bytes, allocated: bytes });
  expect(await taken('bfloat16')).toEqual({ cacheBytes: bytes / 2, allocated: bytes / 2 });
});

test.each(['float32', 'bfloat16', 'int8'] as const)(
  'with %s weights, logits stay near those of float32 keys and values',
  async (dtype) => {
    for (const overrides of [{}, { qkNorm: true }, { norm: 'rms', activation: 'swiglu', nKvHeads: 1 }] as const) {
      const model = smallModel(overrides);
      using decoder = new Decoder(model, { dtype, ...BF16 });
      using exact = new Decoder(model, { dtype });
      const ids = randomIds(66, 3);
      const pieces = [40, 1, 1, 12, 12];
      const change = difference(await inPieces(decoder, ids, pieces), await inPieces(exact, ids, pieces));
      expect(change).toBeGreaterThan(F32);
      // A rounding changes a number by 2 ** -9 of it at most; these weights are large, so that two layers make much of it.
      expect(change).toBeLessThan(2 ** -5);
    }
  },
);
