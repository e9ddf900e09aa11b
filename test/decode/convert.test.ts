import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertWeights, Decoder } from '../../lib/decode';
import { loadSafetensors, saveCheckpoint, saveSafetensors } from '../../lib/io';
import { Guidance, TransformerLM } from '../../lib/nn';
import { loadModel } from '../../lib/train';
import { difference, fullLogits, randomIds, roundWeights, STRUCTURES, smallModel } from './support';

const folder = mkdtempSync(join(tmpdir(), 'convert-'));
afterAll(() => rmSync(folder, { recursive: true }));

const IDS = randomIds(30, 1);
const fresh = () => smallModel({ ffn: STRUCTURES.blockshuffle });
const sizeOf = (path: string) => statSync(join(path, 'model.safetensors')).size;

function convert(dtype: 'float32' | 'bfloat16' | 'int8'): string {
  const path = join(folder, dtype);
  const model = fresh();
  saveCheckpoint(path, { model: convertWeights(model, dtype), dtype, config: model.config });
  return path;
}

test.each(['bfloat16', 'int8'] as const)('%s: loaded, the model has the rounded weights', async (dtype) => {
  const path = convert(dtype);
  const { model, dtype: stored } = loadModel(path);
  expect(stored).toBe(dtype);
  const expected = fullLogits(roundWeights(fresh(), dtype), IDS);
  expect(difference(fullLogits(model, IDS), expected)).toBeLessThan(1e-5);
  // Reduced once more by the decoder, nothing changes, but that rows have 16 bits inside of int8 products.
  using decoder = new Decoder(model, { dtype });
  using sequence = decoder.sequence();
  expect(difference(await decoder.step([{ sequence, ids: IDS, logits: 30 }]), expected)).toBeLessThan(
    dtype === 'int8' ? 5e-4 : 1e-5,
  );
  expect(sizeOf(path)).toBeLessThan(sizeOf(convert('float32')) * (dtype === 'int8' ? 0.5 : 0.7));
});

test('float32 changes nothing', () => {
  const { model, dtype } = loadModel(convert('float32'));
  expect(dtype).toBe('float32');
  expect(fullLogits(model, IDS)).toEqual(fullLogits(fresh(), IDS));
});

test.each(['float32', 'bfloat16', 'int8'] as const)(
  'a bfloat16 model is stored as its own numbers are: %s',
  (dtype) => {
    const rounded = fresh().to('cpu', 'bfloat16');
    const widened = fresh().to('cpu', 'bfloat16').to('cpu', 'float32');
    expect(convertWeights(rounded, dtype)).toEqual(convertWeights(widened, dtype));
  },
);

test('a model with guides is refused by convert, and decoded with them', async () => {
  const guidance = new Guidance({ steps: 4 });
  guidance.advance();
  const model = new TransformerLM({ ...fresh().config }, { guidance }).eval();
  for (const [name, { data }] of model.namedParameters()) if (name.endsWith('.guide')) data.fill(0.01);
  expect(() => convertWeights(model, 'int8')).toThrow(/a model without guides/);
  using decoder = new Decoder(model);
  using sequence = decoder.sequence();
  expect(difference(await decoder.step([{ sequence, ids: IDS, logits: 30 }]), fullLogits(model, IDS))).toBeLessThan(
    1e-5,
  );
});

test('scales that do not fit their matrix are refused', () => {
  const path = convert('int8');
  const file = join(path, 'model.safetensors');
  const tensors = new Map(loadSafetensors(file).tensors);
  tensors.set('embedding.weight.scale', { shape: [3], data: new Float32Array(3) });
  rmSync(join(path, 'manifest.json'));
  saveSafetensors(file, tensors, { format: 'structured-ffn', dtype: 'int8' });
  expect(() => loadModel(path)).toThrow(/'embedding.weight.scale' has 3 values for 37 rows/);
  saveSafetensors(file, tensors, { format: 'structured-ffn', dtype: 'int3' });
  expect(() => loadModel(path)).toThrow(/its matrices are int3/);
});
