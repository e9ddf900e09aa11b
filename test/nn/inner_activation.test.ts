/** Layers with an activation between their factors: what they compute, what a checkpoint keeps, what they refuse. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { add, linear, mergeFactors, noGrad, OptionError, scale, structuredLinear, tensor } from '../../lib';
import { saveCheckpoint } from '../../lib/io';
import {
  createLinear,
  FeedForward,
  Guidance,
  resolveConfig,
  SelfGuided,
  type Structure,
  type TransformerConfig,
  TransformerLM,
} from '../../lib/nn';
import { chooseLayer } from '../../lib/structures';
import { loadModel } from '../../lib/train';
import { logitsOf, randomIds, randomModel } from '../export/random_model';
import { relativeError } from '../support/check_op';
import { TestRandom } from '../support/random';
import { SMALL, SMALL_FFN, STRUCTURED } from '../support/structures';

const innerActivation = 'silu';
const layerOf = (structure: Structure) =>
  createLinear(structure, { inFeatures: 12, outFeatures: 18, ...SMALL[structure], innerActivation, init: 'xavier' });
const input = () => tensor(new TestRandom(4).array(5 * 12, -9, 9), [5, 12]);

const folder = mkdtempSync(join(tmpdir(), 'inner-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(STRUCTURED)('%s', (structure) => {
  test('the layer passes it on, and has no matrix', () => {
    const layer = layerOf(structure);
    const { v, u, bias } = layer;
    const expected = noGrad(() => structuredLinear(input(), { v, u, bias, innerActivation }));
    expect(noGrad(() => layer.forward(input())).toArray()).toEqual(expected.toArray());
    const plain = noGrad(() => structuredLinear(input(), { v, u, bias }));
    expect(relativeError(plain.data, expected.data)).toBeGreaterThan(0.1);
    expect(() => layer.merge()).toThrow(OptionError);
    expect(() => layer.merge()).toThrow(
      "merge: innerActivation: expected 'none' for a layer that is one matrix, got 'silu'",
    );
  });

  test('a guide starts as the product of the factors, is mixed in, and is no part of a matrix', () => {
    const guidance = new Guidance({ steps: 4, form: 'mixed' });
    guidance.advance();
    const { alpha } = guidance;
    const layer = layerOf(structure);
    const { v, u } = layer;
    const guided = new SelfGuided(layer, guidance);
    expect(guided.guide!.toArray()).toEqual(mergeFactors(v!, u).toArray());
    const x = input();
    const mix = noGrad(() =>
      add(scale(linear(x, guided.guide!), alpha), scale(structuredLinear(x, { v, u, innerActivation }), 1 - alpha)),
    );
    expect(relativeError(noGrad(() => guided.forward(x)).data, mix.data)).toBeLessThan(1e-5);
    expect(() => guided.merge()).toThrow('merge: innerActivation');
    guided.release();
    expect(noGrad(() => guided.forward(x)).toArray()).toEqual(noGrad(() => layer.forward(x)).toArray());
  });

  test('a checkpoint keeps it, and one from before it has none', () => {
    const config: TransformerConfig = { vocabSize: 19, dModel: 12, nLayers: 2, nHeads: 2, seqLen: 8, dFF: 18 };
    const ffn = { ...SMALL_FFN[structure], innerActivation } as const;
    const model = randomModel({ ...config, ffn });
    expect(model.blocks.map((block) => block.ffn.layers[0].innerActivation)).toEqual(['none', innerActivation]);
    const ids = randomIds(8, 19);
    const place = join(folder, structure);
    const state = [...model.stateDict()].map(([key, { shape, data }]) => [key, { shape, data }] as const);
    saveCheckpoint(place, { model: new Map(state), config: model.config });
    const { model: back } = loadModel(place);
    expect(back.config.ffn).toEqual(ffn);
    expect(logitsOf(back, ids, 1)).toEqual(logitsOf(model, ids, 1));
    saveCheckpoint(place, { model: new Map(state), config: { ...config, ffn: SMALL_FFN[structure] } });
    const { model: plain } = loadModel(place);
    expect(plain.blocks[1]!.ffn.layers.map((layer) => layer.innerActivation)).toEqual(['none', 'none']);
    expect(relativeError(logitsOf(plain, ids, 1), logitsOf(model, ids, 1))).toBeGreaterThan(1e-3);
  });
});

test('a ratio and it go together, and a checkpoint with sizes in place of the ratio keeps it', () => {
  const config = { vocabSize: 19, dModel: 16, nLayers: 2, nHeads: 2, seqLen: 8 };
  const model = new TransformerLM({ ...config, ffn: { structure: 'lowrank', ratio: 0.5, innerActivation } });
  const place = join(folder, 'ratio');
  const state = [...model.stateDict()].map(([key, { shape, data }]) => [key, { shape, data }] as const);
  saveCheckpoint(place, { model: new Map(state), config: model.config });
  expect(loadModel(place).model.blocks[1]!.ffn.layers[1].innerActivation).toBe(innerActivation);
});

test.each<[string, () => unknown, string]>([
  [
    'a dense layer',
    () => createLinear('dense', { inFeatures: 4, outFeatures: 4, innerActivation }),
    "Linear: innerActivation: expected none for dense, got 'silu'",
  ],
  [
    'a dense network',
    () => new FeedForward({ dModel: 4, dFF: 8, structure: 'dense', innerActivation }),
    'Linear: innerActivation: expected none for dense',
  ],
  [
    'sizes of a dense layer',
    () => chooseLayer('test', 'dense', { inFeatures: 4, outFeatures: 4, innerActivation }),
    'test: innerActivation: expected none for dense',
  ],
  [
    'a config of dense networks',
    () =>
      resolveConfig({
        vocabSize: 9,
        dModel: 8,
        nLayers: 1,
        nHeads: 2,
        seqLen: 4,
        ffn: { structure: 'dense', innerActivation },
      }),
    'config: ffn: innerActivation: expected none for dense',
  ],
  [
    'an activation of two values',
    () => createLinear('lowrank', { inFeatures: 4, outFeatures: 4, rank: 2, innerActivation: 'swiglu' as 'silu' }),
    "LowRankLinear: innerActivation: expected one of none, gelu, silu, relu, got 'swiglu'",
  ],
])('%s is refused by name', (_, build, message) => {
  expect(build).toThrow(OptionError);
  expect(build).toThrow(message);
});
