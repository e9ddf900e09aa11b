/** Decoding on a device gives the logits that the CPU gives, whatever the shapes, and repeats them bit by bit. */
import { availableDevices, type DType, memoryStats } from '../../lib';
import { Decoder, type DecoderOptions, type DecodeSequence, generate, tune } from '../../lib/decode';
import { WeightMatrix } from '../../lib/decode/matrix';
import { DisposedError, OptionError } from '../../lib/errors';
import type { TransformerConfig, TransformerLM } from '../../lib/nn';
import { difference, inPieces, randomIds, STRUCTURES, smallModel } from '../decode/support';
import { withSpareMemory } from '../support/garbage';
import { STRUCTURED } from '../support/structures';

const TOLERANCE = 1e-5;

/** Gives the weights the values that int8 weights can have. */
function roundToInt8(model: TransformerLM): void {
  for (const weight of model.parameters().filter(({ shape }) => shape.length > 1)) {
    using rounded = WeightMatrix.empty(weight.shape, 'int8');
    const original = WeightMatrix.of(weight);
    rounded.copyFrom(original);
    original.copyFrom(rounded);
  }
}

test('a model is on one device', () => {
  using decoder = new Decoder(smallModel());
  expect(decoder.device).toBe('cpu');
});

for (const device of availableDevices().filter((name) => name !== 'cpu'))
  describe(device, () => {
    /** Prefill (many rows), a few rows and single tokens, across pages. */
    const PIECES = [33, 20, 12, 1, 1, 1, 2];
    const ids = randomIds(70, 3);

    async function compare(
      overrides: Partial<TransformerConfig>,
      options: DecoderOptions,
      dtype: DType = 'float32',
    ): Promise<void> {
      const [here, there] = [smallModel(overrides), smallModel(overrides)];
      // In int8 the CPU rounds the rows to 16 bits: the device is compared with what the same weights give in float32.
      const int8 = options.dtype === 'int8';
      if (int8) for (const model of [here, there]) roundToInt8(model);
      there.to(device, dtype);
      if (dtype !== 'float32') here.to(device, dtype).to('cpu', 'float32');
      using expected = new Decoder(here, int8 ? { ...options, dtype: 'float32' } : options);
      using decoder = new Decoder(there, options);
      const [a, b] = [await inPieces(decoder, ids, PIECES), await inPieces(expected, ids, PIECES)];
      expect(difference(a, b)).toBeLessThan(TOLERANCE);
    }

    test.each(Object.keys(STRUCTURES) as (keyof typeof STRUCTURES)[])(
      '%s in every form and type',
      async (structure) => {
        const ffn = STRUCTURES[structure];
        await compare({ ffn }, {});
        await compare({ ffn }, { dispatch: 'merged' });
        await compare({ ffn, dFF: 60 }, { dtype: 'bfloat16' });
        await compare({ ffn, dFF: 60 }, { dtype: 'int8' });
      },
    );

    test.each(STRUCTURED)('%s with an activation between the factors', async (structure) => {
      const ffn = { ...STRUCTURES[structure], innerActivation: 'silu' } as const;
      await compare({ ffn }, {});
      await compare({ ffn, dFF: 60 }, { dtype: 'int8' });
    });

    test.each<[string, Partial<TransformerConfig>]>([
      ['grouped queries, swiglu, rms norm, no biases', { nKvHeads: 2, norm: 'rms', activation: 'swiglu', bias: false }],
      ['swiglu in blocks', { activation: 'swiglu', ffn: STRUCTURES.blockshuffle }],
      ['learned positions, a head of its own', { learnedPositions: true, tieEmbeddings: false, normEps: 0.1 }],
      ['no rotary positions', { ropeBase: 0, activation: 'silu' }],
      ['heads of several vectors and a part', { nHeads: 2, nKvHeads: 1, attnDim: 168 }],
      ['odd widths', { dModel: 23, nHeads: 1, attnDim: 22, dFF: 17, vocabSize: 37 }],
      ['wide packs', { dModel: 64, nHeads: 2, dFF: 128, vocabSize: 48 }],
    ])('%s', async (_, overrides) => {
      await compare(overrides, {});
      await compare(overrides, { dtype: 'int8' });
    });

    test('a model in bfloat16', async () => {
      await compare({ ffn: STRUCTURES.lowrank }, { dtype: 'bfloat16' }, 'bfloat16');
      await compare({ ffn: STRUCTURES.lowrank }, {}, 'bfloat16');
    });

    test('keys and values in bfloat16 are refused, with no memory taken', () => {
      const model = smallModel().to(device);
      const { allocated } = memoryStats(device);
      const make = () => new Decoder(model, { dtype: 'int8', cacheDtype: 'bfloat16' });
      expect(make).toThrow(OptionError);
      expect(make).toThrow(/decoder: cacheDtype: expected float32 on device 'cuda' .*, got 'bfloat16'/);
      expect(memoryStats(device).allocated).toBe(allocated);
    });

    test('a context of several parts', async () => {
      const overrides = { seqLen: 600, nLayers: 1, dModel: 12, nHeads: 1 };
      const long = randomIds(520, 8);
      using expected = new Decoder(smallModel(overrides));
      using decoder = new Decoder(smallModel(overrides).to(device));
      const pieces = [250, 1, 250, 1, 17, 1];
      expect(difference(await inPieces(decoder, long, pieces), await inPieces(expected, long, pieces))).toBeLessThan(
        TOLERANCE,
      );
    });

    const next = async (decoder: Decoder, sequences: DecodeSequence[], logits: number): Promise<Float32Array[]> => {
      const rows = await decoder.step(
        sequences.map((sequence, i) => ({ sequence, ids: [i + 3], logits: i === 0 ? 1 : logits })),
      );
      for (const sequence of sequences) sequence.rewind(sequence.length - 1);
      return rows;
    };

    test('a recorded step gives the bits of one that was not, again and again', async () => {
      using decoder = new Decoder(smallModel({ ffn: STRUCTURES.blockshuffle }).to(device));
      const texts = [randomIds(5, 1), randomIds(40, 2), randomIds(33, 3)];
      const sequences = texts.map(() => decoder.sequence());
      for (const [i, text] of texts.entries()) await decoder.prefill(sequences[i]!, text);
      // Not every sequence wants logits: such a step is not recorded.
      const [plain] = await next(decoder, sequences, 0);
      const held = () => memoryStats(device).allocated;
      const first = await next(decoder, sequences, 1);
      const once = held();
      const second = await next(decoder, sequences, 1);
      // A step has memory of its own from the first time on.
      expect(held()).toBe(once);
      expect(first[0]).toEqual(plain);
      expect(second).toEqual(first);
      // Other tensors may have taken any memory that the recorded step does not hold fast.
      await decoder.prefill(decoder.sequence(), randomIds(60, 9));
      expect(await next(decoder, sequences, 1)).toEqual(first);
    });

    test('a recorded step whose weights were replaced is refused', async () => {
      const model = smallModel().to(device);
      using decoder = new Decoder(model);
      const sequence = decoder.sequence();
      for (let i = 0; i < 3; i++) await next(decoder, [sequence], 1);
      model.to('cpu');
      await expect(next(decoder, [sequence], 1)).rejects.toThrow(DisposedError);
    });

    test('more kinds of steps than are kept', async () => {
      using decoder = new Decoder(smallModel().to(device));
      const sequences: DecodeSequence[] = [];
      const rows: Float32Array[] = [];
      for (let count = 1; count <= 10; count++) {
        const sequence = decoder.sequence();
        await decoder.prefill(sequence, randomIds(3, 1));
        sequences.unshift(sequence);
        rows.push((await next(decoder, sequences, 1))[0]!);
      }
      for (const row of rows) expect(difference([row], [rows[0]!])).toBeLessThan(TOLERANCE);
    });

    test('generation is the same as on the CPU', async () => {
      const take = async (model: TransformerLM) => {
        using decoder = new Decoder(model, { dtype: 'bfloat16' });
        const taken: number[] = [];
        for await (const id of generate(decoder, randomIds(4, 1), { maxNewTokens: 12, temperature: 0 })) taken.push(id);
        return taken;
      };
      expect(await take(smallModel().to(device))).toEqual(await take(smallModel()));
    });

    test('when memory runs out the sequences are as before', async () => {
      using decoder = new Decoder(smallModel().to(device));
      using sequence = decoder.sequence();
      const before = await decoder.prefill(sequence, randomIds(30, 1));
      await withSpareMemory(0, device, () =>
        expect(decoder.step([{ sequence, ids: randomIds(39, 2) }])).rejects.toMatchObject({
          code: 'ERR_OUT_OF_MEMORY',
        }),
      );
      expect(sequence.length).toBe(30);
      sequence.rewind(0);
      expect(await decoder.prefill(sequence, randomIds(30, 1))).toEqual(before);
    });

    test('measures which form is faster there', () => {
      const model = smallModel({ ffn: STRUCTURES.lowrank }).to(device);
      const table = tune(model, { tokens: [1, 20], milliseconds: 1 });
      for (const [key, measured] of table) {
        expect(key).toContain('available');
        for (const { factored, merged } of measured) expect(Math.min(factored, merged)).toBeGreaterThan(0);
      }
      using decoder = new Decoder(model, { dispatch: 'auto', table });
      expect(decoder.stats().dispatch.mergedBytes).toBe(0);
    });

    test('norms of queries and keys are refused by name', () => {
      expect(() => new Decoder(smallModel({ qkNorm: true }).to(device))).toThrow(/decoder: qkNorm: expected false/);
    });

    test('a model on two devices is refused with both names', () => {
      const model = smallModel().to(device);
      model.norm.to('cpu');
      expect(() => new Decoder(model)).toThrow(/on 'cpu' and the embedding on 'cuda'/);
    });
  });
