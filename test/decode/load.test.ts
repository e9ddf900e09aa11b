import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertWeights, Decoder, type DecoderOptions, loadDecoder, type WeightDType } from '../../lib/decode';
import { memoryStats, resetPeakMemory } from '../../lib/device';
import { FormatError, OutOfMemoryError, ShapeError, StateDictError } from '../../lib/errors';
import { loadSafetensors, type StoredTensor, saveCheckpoint, saveSafetensors } from '../../lib/io';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import { UNSET } from '../../lib/nn/init';
import { loadModel, Trainer } from '../../lib/train';
import { allocatedWithoutGarbage, withSpareMemory } from '../support/garbage';
import { CONFIG, take } from '../train/support';
import { randomIds, STRUCTURES, smallModel } from './support';

const folder = mkdtempSync(join(tmpdir(), 'load-'));
afterAll(() => rmSync(folder, { recursive: true }));

const DTYPES: readonly WeightDType[] = ['float32', 'bfloat16', 'int8'];
const IDS = randomIds(9, 1);

function save(model: TransformerLM, dtype: WeightDType): string {
  const path = mkdtempSync(join(folder, 'model-'));
  saveCheckpoint(path, { model: convertWeights(model, dtype), dtype, config: model.config });
  return path;
}

/** Logits of all tokens; disposes the decoder. */
async function logits(made: Decoder, ids = IDS): Promise<Float32Array[]> {
  using decoder = made;
  using sequence = decoder.sequence();
  return decoder.step([{ sequence, ids, logits: ids.length }]);
}

/** By way of a model in float32. */
function widened(path: string, options: DecoderOptions): Promise<Float32Array[]> {
  const { model, dtype } = loadModel(path);
  return logits(new Decoder(model, { dtype, ...options }));
}

const MODELS: Record<string, Partial<TransformerConfig>> = {
  dense: {},
  ...Object.fromEntries(Object.entries(STRUCTURES).map(([name, ffn]) => [name, { ffn }])),
  'learned positions and an untied head': { learnedPositions: true, tieEmbeddings: false, ffn: STRUCTURES.lowrank },
  'RMS norms, also of queries and keys, swiglu, no biases': {
    ...{ norm: 'rms', qkNorm: true, activation: 'swiglu', bias: false, nKvHeads: 2 },
    ffn: STRUCTURES.blockdense,
  },
  'an activation between the factors': { ffn: { ...STRUCTURES.lowrank, innerActivation: 'gelu' } },
};

describe.each(Object.entries(MODELS))('%s', (_, overrides) => {
  test.each(DTYPES)('a %s checkpoint has the bits of its model, in every type and form', async (stored) => {
    const model = smallModel(overrides);
    const path = save(model, stored);
    // The file has all matrices in its type, a decoder never those of the positions.
    const { positions } = loadModel(path).model;
    if (positions) model.positions!.weight.copyFrom(positions.weight);
    for (const dispatch of ['factored', 'merged'] as const)
      for (const dtype of DTYPES) {
        const actual = await logits(loadDecoder(path, { dtype, dispatch }).decoder);
        // int8 widened to float32 and rounded again may have other scales in the last bit: only the file's are right.
        const again = stored === 'int8' && dtype === 'int8' && dispatch === 'factored';
        const expected = again ? await logits(new Decoder(model, { dtype })) : await widened(path, { dtype, dispatch });
        expect(actual).toEqual(expected);
      }
  });
});

test('the type of the checkpoint is the default', () => {
  for (const dtype of DTYPES) {
    using decoder = loadDecoder(save(smallModel(), dtype)).decoder;
    expect(decoder.dtype).toBe(dtype);
    expect(decoder.stats().weightBytes).toBe(new Decoder(smallModel(), { dtype }).stats().weightBytes);
  }
});

test('keys and values are cached in the type that is asked for, whatever that of the checkpoint', async () => {
  for (const stored of ['float32', 'bfloat16'] as const) {
    const path = save(smallModel(), stored);
    for (const cacheDtype of ['float32', 'bfloat16'] as const) {
      const { decoder } = loadDecoder(path, { cacheDtype });
      expect(decoder).toMatchObject({ dtype: stored, cacheDtype });
      expect(await logits(decoder)).toEqual(await widened(path, { cacheDtype }));
    }
  }
  expect(() => loadDecoder('nowhere', { cacheDtype: 'int8' as 'bfloat16' })).toThrow(/cacheDtype: expected one of/);
});

test('a checkpoint with guides is decoded as its model is', async () => {
  const path = join(folder, 'guided');
  using trainer = new Trainer({ ...CONFIG, guidance: { part: 0.9 } });
  await take(trainer, 2);
  trainer.save(path);
  const expected = await logits(new Decoder(loadModel(path).model), [1, 2, 3]);
  expect(await logits(loadDecoder(path).decoder, [1, 2, 3])).toEqual(expected);
});

/** Rewrites the weights of a checkpoint without its manifest. */
function rewrite(path: string, change: (tensors: Map<string, StoredTensor>) => Iterable<[string, StoredTensor]>): void {
  const { metadata } = loadSafetensors(join(path, 'model.safetensors'));
  const dtype = (metadata.get('dtype') ?? 'float32') as WeightDType;
  rmSync(join(path, 'manifest.json'));
  const tensors = convertWeights(smallModel({ ffn: STRUCTURES.lowrank }), dtype);
  saveSafetensors(join(path, 'model.safetensors'), change(tensors), Object.fromEntries(metadata));
}

test.each(DTYPES)('tensors of a %s file may come in any order', async (dtype) => {
  const model = smallModel({ ffn: STRUCTURES.lowrank });
  const path = save(model, dtype);
  rewrite(path, (tensors) => [...tensors].reverse());
  expect(await logits(loadDecoder(path).decoder)).toEqual(await logits(new Decoder(model, { dtype })));
});

test('types that native memory does not have are widened', async () => {
  const path = save(smallModel({ ffn: STRUCTURES.lowrank }), 'float32');
  rewrite(path, (tensors) => {
    const { shape } = tensors.get('norm.weight')!;
    return tensors.set('norm.weight', { shape, data: new Int8Array(shape[0]!).fill(3) });
  });
  expect(await logits(loadDecoder(path).decoder)).toEqual(await widened(path, {}));
  expect(loadModel(path).model.norm.weight.toArray()[0]).toBe(3);
});

/** The error of loading, after which no memory may be in use. */
async function refused(path: string, load: (path: string) => unknown): Promise<unknown> {
  const before = await allocatedWithoutGarbage();
  try {
    load(path);
  } catch (error) {
    expect(memoryStats().allocated).toBe(before);
    return error;
  }
  throw new Error('it was loaded');
}

describe.each([
  ['loadDecoder', loadDecoder],
  ['loadModel', loadModel],
])('%s refuses', (_, load) => {
  test.each(DTYPES)('a changed bit of a %s checkpoint', async (dtype) => {
    const path = save(smallModel(), dtype);
    const file = join(path, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(file, bytes);
    expect(await refused(path, load)).toEqual(
      new FormatError(
        file,
        'it is not the file that was saved with the others: changed or damaged (to load it all the same, remove manifest.json)',
      ),
    );
  });

  test.each([
    ['float32', 'blocks.1.ffn.fc1.v', (data: StoredTensor['data']) => data.fill(Number.POSITIVE_INFINITY, 7)],
    ['bfloat16', 'blocks.1.ffn.fc1.v', (data: StoredTensor['data']) => data.fill(0x7f80, 7)],
    ['int8', 'blocks.1.ffn.fc1.u.scale', (data: StoredTensor['data']) => data.fill(Number.POSITIVE_INFINITY, 7)],
  ] as const)('a value of a %s checkpoint that is not finite', async (dtype, name, spoil) => {
    const path = save(smallModel({ ffn: STRUCTURES.lowrank }), dtype);
    rewrite(path, (tensors) => {
      spoil(tensors.get(name)!.data);
      return tensors;
    });
    const error = await refused(path, load);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(`tensor '${name}' is not finite: element 7 is Infinity`);
  });

  test('tensors that are not those of the config, before it takes memory', async () => {
    const path = save(smallModel({ ffn: STRUCTURES.lowrank }), 'int8');
    rewrite(path, (tensors) => {
      tensors.delete('norm.bias');
      return tensors;
    });
    const other = save(smallModel({ ffn: STRUCTURES.lowrank }), 'int8');
    rewrite(other, (tensors) => tensors.set('norm.bias', { shape: [23], data: new Float32Array(23) }));
    resetPeakMemory();
    const { peak } = memoryStats();
    expect(await refused(path, load)).toBeInstanceOf(StateDictError);
    const error = await refused(other, load);
    expect(error).toBeInstanceOf(ShapeError);
    expect((error as Error).message).toContain('norm.bias: expected [24], got [23]');
    // Norms and biases are made with their values.
    expect(memoryStats().peak - peak).toBeLessThan(5000);
  });

  test.each(DTYPES)('a %s checkpoint for which there is no memory', async (dtype) => {
    const model = smallModel();
    const path = save(model, dtype);
    model.dispose(); // a refusal would free it
    const half = Math.floor(statSync(join(path, 'model.safetensors')).size / 2);
    await withSpareMemory(half, 'cpu', async () => {
      expect(await refused(path, load)).toBeInstanceOf(OutOfMemoryError);
    });
  });

  test('a damaged name as damage', async () => {
    const path = save(smallModel(), 'int8');
    const file = join(path, 'model.safetensors');
    writeFileSync(file, readFileSync(file, 'latin1').replace('embedding.weight', 'embeddinG.weight'), 'latin1');
    expect(((await refused(path, load)) as Error).message).toContain('changed or damaged');
  });
});

test('large values are finite, also if their squares have no sum in float32', () => {
  const path = save(smallModel({ ffn: STRUCTURES.lowrank }), 'float32');
  rewrite(path, (tensors) => {
    tensors.get('embedding.weight')!.data.fill(3e38);
    return tensors;
  });
  loadModel(path).model.dispose();
});

describe('memory', () => {
  const config = { vocabSize: 512, dModel: 128, nLayers: 4, nHeads: 4, seqLen: 64 };
  const model = new TransformerLM(config, { init: 'normal' });
  const largest = 4 * 128 * 512;

  test.each(DTYPES)('a %s checkpoint takes little more than its file', (dtype) => {
    const path = save(model, dtype);
    const bytes = statSync(join(path, 'model.safetensors')).size;
    resetPeakMemory();
    const before = memoryStats().allocated;
    using _ = loadDecoder(path).decoder;
    expect(memoryStats().peak - before).toBeLessThan(1.15 * bytes);
  });

  test('a float32 checkpoint is rounded tensor by tensor', () => {
    const path = save(model, 'float32');
    resetPeakMemory();
    const before = memoryStats().allocated;
    using decoder = loadDecoder(path, { dtype: 'int8' }).decoder;
    expect(memoryStats().peak - before).toBeLessThan(1.2 * decoder.stats().weightBytes + largest);
  });

  test('a model in float32 is read into its place', () => {
    const path = save(model, 'float32');
    const bytes = statSync(join(path, 'model.safetensors')).size;
    resetPeakMemory();
    const before = memoryStats().allocated;
    loadModel(path).model.dispose();
    expect(memoryStats().peak - before).toBeLessThan(1.1 * bytes);
  });

  test('weights that are loaded later take none before', () => {
    const before = memoryStats().allocated;
    const later = new TransformerLM(config, UNSET);
    expect(memoryStats().allocated - before).toBeLessThan(100_000);
    expect(later.embedding.weight.shape).toEqual([512, 128]);
    expect(later.embedding.weight.disposed).toBe(false);
    later.embedding.weight.data.fill(1);
    expect(memoryStats().allocated - before).toBeGreaterThan(largest);
    later.dispose();
    expect(later.embedding.weight.disposed).toBe(true);
    expect(memoryStats().allocated).toBe(before);
  });
});
