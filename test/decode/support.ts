/** Small models of every kind, and what the whole forward says that their logits are. */
import { noGrad } from '../../lib/autograd';
import type { Decoder } from '../../lib/decode';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import { Generator } from '../../lib/random';
import { tidy } from '../../lib/scope';
import { tensor } from '../../lib/tensor';

const BASE = { vocabSize: 37, dModel: 24, nLayers: 2, nHeads: 4, dFF: 36, seqLen: 70, firstFfnDense: false };

export { SMALL_FFN as STRUCTURES } from '../support/structures';

/** With weights large enough that every part shows in the logits. */
export function smallModel(overrides: Partial<TransformerConfig> = {}): TransformerLM {
  const model = new TransformerLM({ ...BASE, ...overrides }, { init: 'normal' });
  const generator = new Generator(5);
  for (const [name, value] of model.namedParameters()) {
    const spread = name.includes('norm') ? 0.2 : 0.4;
    const fresh = generator.normal(value.shape, name.includes('norm') && name.endsWith('weight') ? 1 : 0, spread);
    value.data.set(fresh.data);
    fresh.dispose();
  }
  return model.eval();
}

/** Logits of every token of one text. */
export function fullLogits(model: TransformerLM, ids: readonly number[]): Float32Array[] {
  const { vocabSize } = model.config;
  const all = noGrad(() =>
    tidy(() => Float32Array.from(model.forward(tensor(Int32Array.from(ids), [1, ids.length])).data)),
  );
  return ids.map((_, i) => all.subarray(i * vocabSize, (i + 1) * vocabSize));
}

export function randomIds(count: number, seed: number, vocabSize = BASE.vocabSize): number[] {
  const generator = new Generator(seed);
  return Array.from({ length: count }, () => generator.nextInt(vocabSize));
}

/** Logits of each token, fed in pieces of the given lengths. */
export async function inPieces(
  decoder: Decoder,
  ids: readonly number[],
  lengths: readonly number[],
): Promise<Float32Array[]> {
  using sequence = decoder.sequence();
  const rows: Float32Array[] = [];
  for (const length of lengths) {
    const piece = ids.slice(sequence.length, sequence.length + length);
    rows.push(...(await decoder.step([{ sequence, ids: piece, logits: piece.length }])));
  }
  expect(sequence.length).toBe(ids.length);
  return rows;
}

/** Largest difference, relative to the largest value. */
export function difference(actual: readonly Float32Array[], expected: readonly Float32Array[]): number {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  let most = 0;
  for (const [i, row] of expected.entries())
    for (const [j, value] of row.entries()) {
      const error = Math.abs(actual[i]![j]! - value);
      if (!(error <= worst)) worst = error;
      most = Math.max(most, Math.abs(value));
    }
  return worst / most;
}

const floatOf = new Float32Array(1);
const bitsOf = new Uint32Array(floatOf.buffer);

/** To the nearest bfloat16, ties to even. */
export function toBf16(value: number): number {
  floatOf[0] = value;
  const bits = bitsOf[0]!;
  bitsOf[0] = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return floatOf[0]!;
}

/** Every matrix of the model as its decoder of that type sees it. */
export function roundWeights(model: TransformerLM, dtype: 'bfloat16' | 'int8'): TransformerLM {
  for (const { data, shape, rank } of model.parameters()) {
    if (rank < 2) continue;
    const columns = shape[rank - 1]!;
    for (let at = 0; at < data.length; at += columns) {
      const row = data.subarray(at, at + columns);
      const scale = Math.max(...Array.from(row, Math.abs)) / 127;
      for (const [i, value] of row.entries())
        row[i] = dtype === 'bfloat16' ? toBf16(value) : Math.round(value / scale) * scale;
    }
  }
  return model;
}
