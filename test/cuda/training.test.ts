/** A small model, trained on every device and in every precision, loses what it loses on the CPU in float32. */

import type { Device } from '../../lib';
import { availableDevices, type DType, tensor, tidy } from '../../lib';
import { Guidance, type TransformerConfig, TransformerLM } from '../../lib/nn';
import { AdamW, Muon } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { TestRandom } from '../support/random';
import { SMALL_FFN, STRUCTURED } from '../support/structures';

const STEPS = 4;
const [ROWS, SEQ, VOCABULARY] = [2, 9, 23];

const config = (overrides: Partial<TransformerConfig>): TransformerConfig => ({
  vocabSize: VOCABULARY,
  dModel: 24,
  nLayers: 2,
  nHeads: 4,
  nKvHeads: 2,
  seqLen: SEQ,
  activation: 'swiglu',
  ...overrides,
});

const PRETRAINED: Partial<TransformerConfig> = {
  norm: 'rms',
  qkNorm: true,
  learnedPositions: true,
  ropeBase: 100,
  headSize: 8,
  tieEmbeddings: false,
  qkvBias: false,
};

const OPTIMIZERS = {
  adamw: (model: TransformerLM) => new AdamW(model, { lr: 3e-3 }),
  muon: (model: TransformerLM) => new Muon(model, { lr: 3e-3, adjustLr: 'match-rms-adamw' }),
} as const;

function losses(
  overrides: Partial<TransformerConfig>,
  optimizerName: keyof typeof OPTIMIZERS,
  device: Device,
  dtype: DType,
): number[] {
  const guidance = new Guidance({ steps: STEPS, seed: 1 });
  const model = new TransformerLM(config(overrides), { generator: new Generator(3), guidance }).to(device, dtype);
  const optimizer = OPTIMIZERS[optimizerName](model);
  const random = new TestRandom(5);
  const found = Array.from({ length: STEPS }, () => {
    const ids = () => Int32Array.from({ length: ROWS * SEQ }, () => random.int(0, VOCABULARY - 1));
    const loss = tidy(() => {
      const [inputs, targets] = [ids(), ids()].map((values) => tensor(values, [ROWS, SEQ], { device }));
      const value = model.loss(inputs!, targets!);
      value.backward();
      return value.item();
    });
    optimizer.step({ maxGradNorm: 1 });
    optimizer.zeroGrad();
    guidance.advance();
    return loss;
  });
  optimizer.dispose();
  model.dispose();
  return found;
}

type Case = [string, Partial<TransformerConfig>, keyof typeof OPTIMIZERS];

describe.each<Case>([
  ...STRUCTURED.map((structure): Case => [structure, { ffn: SMALL_FFN[structure] }, 'adamw']),
  ['norms of queries and keys, learned positions, a head of its own', PRETRAINED, 'adamw'],
  ['blockshuffle by Muon', { ffn: SMALL_FFN.blockshuffle }, 'muon'],
])('%s', (_, overrides, optimizer) => {
  const expected = losses(overrides, optimizer, 'cpu', 'float32');

  test('the loss on random tokens starts near that of a uniform guess and changes', () => {
    expect(Math.abs(expected[0]! - Math.log(VOCABULARY))).toBeLessThan(0.2);
    expect(new Set(expected).size).toBe(STEPS);
  });

  const places = availableDevices().flatMap((device): [Device, DType, number][] => [
    [device, 'float32', 2e-5],
    [device, 'bfloat16', 1e-2],
  ]);
  test.each(places)('on %s in %s', (device, dtype, tolerance) => {
    losses(overrides, optimizer, device, dtype).forEach((loss, i) => {
      expect(Math.abs(loss / expected[i]! - 1)).toBeLessThan(tolerance);
    });
  });
});
