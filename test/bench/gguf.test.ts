/** The files for llama.cpp: rounding to halves, blocks of 8 bits, and a file that holds what its header promises. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canWrite, halfBits, quantize, writeGguf } from '../../bench/rivals/gguf';
import { TransformerLM } from '../../lib/nn';

test.each([
  [0, 0],
  [2 ** -24, 1],
  [2 ** -14, 0x0400],
  [0.5, 0x3800],
  [1, 0x3c00],
  [1 + 2 ** -10, 0x3c01],
  [2 - 2 ** -12, 0x4000],
  [65504, 0x7bff],
])('the half of %d', (value, bits) => {
  expect(halfBits(value)).toBe(bits);
});

test('a block of 8 bits has the largest magnitude over 127 as its scale', () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? (i - 16) * 127 : 0));
  const bytes = quantize(values);
  expect(bytes).toHaveLength(2 * 34);
  expect(bytes.readUInt16LE(0)).toBe(halfBits(16));
  expect([bytes.readInt8(2), bytes.readInt8(2 + 16), bytes.readInt8(2 + 31)]).toEqual([-127, 0, 119]);
  expect(bytes.subarray(34).every((byte) => byte === 0)).toBe(true);
});

test('8 bits need rows of whole blocks', () => {
  expect([canWrite(24, 'int8'), canWrite(24, 'bfloat16'), canWrite(96, 'int8')]).toEqual([false, true, true]);
});

describe('a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gguf-'));
  const config = {
    dModel: 32,
    nLayers: 2,
    nHeads: 4,
    vocabSize: 300,
    seqLen: 16,
    ffn: { structure: 'dense' },
  } as const;
  const model = new TransformerLM(config);
  afterAll(() => {
    model.dispose();
    rmSync(folder, { recursive: true });
  });

  test.each([
    ['float32', 4],
    ['bfloat16', 2],
    ['int8', 34 / 32],
  ] as const)('%s: as many tensors and bytes as the model has values', (precision, perValue) => {
    const path = join(folder, precision);
    writeGguf(path, model, precision);
    const bytes = readFileSync(path);
    expect(bytes.toString('latin1', 0, 4)).toBe('GGUF');
    expect(bytes.readUInt32LE(4)).toBe(3);
    // Embedding, last norm with bias; of each layer 2 norms and 6 products with biases.
    expect(Number(bytes.readBigUInt64LE(8))).toBe(3 + 2 * (4 + 12));
    const sizes = [...model.namedParameters()].map(([, { shape, size }]) => size * (shape.length < 2 ? 4 : perValue));
    const values = sizes.reduce((sum, size) => sum + size, 0);
    expect(bytes.length).toBeGreaterThan(values);
    expect(bytes.length).toBeLessThan(values + 40_000);
    expect(bytes.includes('blk.1.ffn_down.weight')).toBe(true);
  });
});
