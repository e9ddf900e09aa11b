/**
 * What pretrained families differ in: every option of a config, and several together, against a transformer in float64:
 * logits, gradients, a checkpoint and back, decoding.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noGrad, tensor, tidy } from '../../lib';
import { Decoder } from '../../lib/decode';
import { availableIsas, getIsa, setIsa } from '../../lib/device';
import { saveCheckpoint } from '../../lib/io';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { loadModel } from '../../lib/train';
import { difference, fullLogits, inPieces } from '../decode/support';
import { randomIds, randomModel } from '../export/random_model';
import { relativeError } from '../support/check_op';
import { type ReferenceConfig, referenceLogits, referenceLoss } from '../support/reference_transformer';

const BASE: TransformerConfig = { vocabSize: 19, dModel: 12, nLayers: 2, nHeads: 2, seqLen: 41, dFF: 18 };
const RMS: Partial<TransformerConfig> = { norm: 'rms', activation: 'swiglu', bias: false };

/** What each case says, and what it means where that is not the reference's usual. */
const CASES: readonly [string, Partial<TransformerConfig>, Partial<ReferenceConfig>?][] = [
  ['normEps of layer norms', { normEps: 0.3 }],
  ['normEps of RMS norms', { ...RMS, normEps: 0.3 }],
  ['tieEmbeddings: false', { tieEmbeddings: false }],
  ['qkvBias alone', { bias: false, qkvBias: true }],
  ['outBias alone', { bias: false, outBias: true }],
  ['no qkvBias', { qkvBias: false }],
  ['no outBias', { outBias: false }],
  ['headSize above dModel / nHeads', { headSize: 10 }],
  ['headSize below dModel / nHeads', { headSize: 2, nHeads: 4, nKvHeads: 2 }],
  ['learnedPositions', { learnedPositions: true }],
  ['learnedPositions and rotary ones', { learnedPositions: true, ropeBase: 50 }],
  ['qkNorm', { qkNorm: true }],
  ['qkNorm of grouped queries', { ...RMS, qkNorm: true, nHeads: 3, nKvHeads: 1, headSize: 6, normEps: 0.1 }],
  ['ropeBase', { ropeBase: 40 }],
  ['a slidingWindow of the whole context', { slidingWindow: 41 }],
  ['as GPT-2 has it', { learnedPositions: true, activation: 'gelu' }],
  ['as Qwen 2 has it', { ...RMS, nKvHeads: 1, qkvBias: true, normEps: 1e-6, ropeBase: 1e6, tieEmbeddings: false }],
  ['as Qwen 3 has it', { ...RMS, nKvHeads: 1, qkNorm: true, headSize: 8, normEps: 1e-6, ropeBase: 1e6 }],
  [
    'all at once',
    { qkNorm: true, headSize: 4, learnedPositions: true, ropeBase: 9, tieEmbeddings: false, qkvBias: false },
  ],
];

const folder = mkdtempSync(join(tmpdir(), 'families-'));
afterAll(() => rmSync(folder, { recursive: true }));

const isa = getIsa();
afterEach(() => setIsa(isa));

const weightsOf = (model: TransformerLM) =>
  new Map([...model.namedParameters()].map(([name, { data }]) => [name, Float64Array.from(data)]));

describe.each(CASES)('%s', (name, overrides) => {
  const config = { ...BASE, ...overrides };
  const meaning: ReferenceConfig = {
    nLayers: 2,
    nHeads: config.nHeads,
    nKvHeads: config.nKvHeads ?? config.nHeads,
    norm: config.norm ?? 'layer',
    normEps: config.normEps ?? 1e-5,
    activation: config.activation ?? 'gelu',
    ropeBase: config.ropeBase ?? (config.learnedPositions ? 0 : 10000),
  };
  const model = randomModel(config);
  const ids = randomIds(40, 19);
  const expected = referenceLogits(meaning, weightsOf(model), ids);

  test('the logits are those of the formulas', () => {
    for (const one of availableIsas()) {
      setIsa(one);
      expect(
        difference(
          fullLogits(model, ids),
          expected.map((row) => Float32Array.from(row)),
        ),
      ).toBeLessThan(1e-5);
    }
  });

  test('the gradients are the slopes of the loss', () => {
    const [inputs, targets] = [ids.slice(0, 9), ids.slice(1, 10)];
    const row = (values: readonly number[]) => tensor(Int32Array.from(values), [1, values.length]);
    tidy(() => {
      const loss = model.loss(row(inputs), row(targets));
      expect(loss.item()).toBeCloseTo(referenceLoss(meaning, weightsOf(model), inputs, targets), 5);
      loss.backward();
    });
    for (const [parameter, { grad }] of model.namedParameters()) {
      const direction = Float64Array.from(grad!.data);
      const norm = Math.hypot(...direction);
      const at = (step: number) => {
        const weights = weightsOf(model);
        weights.set(
          parameter,
          weights.get(parameter)!.map((value, i) => value + (step * direction[i]!) / norm),
        );
        return referenceLoss(meaning, weights, inputs, targets);
      };
      const slope = (at(1e-4) - at(-1e-4)) / 2e-4;
      expect([parameter, Math.abs(slope / norm - 1) < 1e-3 || slope / norm]).toEqual([parameter, true]);
    }
    model.zeroGrad();
  });

  test('a checkpoint gives the same model back', () => {
    const place = join(folder, name.replaceAll(/\W/g, '-'));
    const state = [...model.stateDict()].map(([key, { shape, data }]) => [key, { shape, data }] as const);
    saveCheckpoint(place, { model: new Map(state), config: model.config });
    const { model: back } = loadModel(place);
    expect(back.config).toEqual(model.config);
    expect(fullLogits(back, ids)).toEqual(fullLogits(model, ids));
    // A config as somebody wrote it, without what follows from it, means the same.
    saveCheckpoint(place, { model: new Map(state), config });
    expect(loadModel(place).model.config).toEqual(model.config);
    back.dispose();
  });

  test('decoding gives the logits of the forward pass', async () => {
    for (const one of availableIsas()) {
      setIsa(one);
      using decoder = new Decoder(model);
      for (const lengths of [[...Array(40).keys()].map(() => 1), [3, 12, 1, 8, 5, 11], [40]])
        expect(difference(await inPieces(decoder, ids, lengths), fullLogits(model, ids))).toBeLessThan(1e-5);
    }
  });

  test.each(['bfloat16', 'int8'] as const)('decoding of %s weights is near', async (dtype) => {
    using decoder = new Decoder(model, { dtype });
    const rows = await inPieces(decoder, ids, [1, 3, 36]);
    const error = difference(rows, fullLogits(model, ids));
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(0.1);
  });
});

test('new parts train, and their values move', () => {
  const model = new TransformerLM({ ...BASE, qkNorm: true, learnedPositions: true, tieEmbeddings: false });
  const optimizer = new AdamW(model.namedParameters(), { weightDecay: 0 });
  const before = weightsOf(model);
  const ids = randomIds(41, 19);
  const row = (from: number) => tensor(Int32Array.from(ids.slice(from, from + 40)), [2, 20]);
  const losses = Array.from({ length: 80 }, () =>
    tidy(() => {
      const loss = model.loss(row(0), row(1));
      loss.backward(null, { releaseGraph: true });
      optimizer.step({ lr: 1e-2, maxGradNorm: 1 });
      optimizer.zeroGrad();
      return loss.item();
    }),
  );
  expect(losses.at(-1)).toBeLessThan(0.1);
  for (const [name, { data }] of model.namedParameters())
    expect([name, relativeError(data, before.get(name)!) > 0]).toEqual([name, true]);
  // Positions beyond those that were seen get no gradient.
  const { positions } = model;
  expect(positions!.weight.data.slice(20 * 12)).toEqual(
    Float32Array.from(before.get('positions.weight')!.slice(20 * 12)),
  );
});

test('the parts have their names, and models without them are what they were', () => {
  const names = (overrides: Partial<TransformerConfig>) => [
    ...new TransformerLM({ ...BASE, ...overrides }, { init: 'normal' }).namedParameters().keys(),
  ];
  const plain = names({});
  const added = (overrides: Partial<TransformerConfig>) => names(overrides).filter((name) => !plain.includes(name));
  expect(added({ tieEmbeddings: false })).toEqual(['head.weight']);
  expect(added({ learnedPositions: true })).toEqual(['positions.weight']);
  expect(added({ qkNorm: true }).slice(0, 2)).toEqual([
    'blocks.0.attention.qnorm.weight',
    'blocks.0.attention.knorm.weight',
  ]);
  // The head draws last: with it, all other values stay.
  const draws = (overrides: Partial<TransformerConfig>) => weightsOf(new TransformerLM({ ...BASE, ...overrides }));
  const [tied, untied] = [draws({}), draws({ tieEmbeddings: false })];
  for (const [name, values] of tied) expect(untied.get(name)).toEqual(values);
  expect(noGrad(() => new TransformerLM({ ...BASE, tieEmbeddings: false }).flopsPerToken().head)).toBe(2 * 19 * 12);
});
