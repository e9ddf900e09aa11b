/** Trained models made structured and back: the same function where it can be, reports that hold, weights that arrive. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { OptionError } from '../../lib';
import { DEFINITIONS } from '../../lib/structures';
import type { StructureOptions } from '../../lib/tfjs';
import { TestRandom } from '../support/random';
import { STRUCTURED } from '../support/structures';
import { BACKENDS, expectClose, sffn, tensorOf } from './support';

const { layers } = sffn;
const folder = mkdtempSync(join(tmpdir(), 'tfjs-structure-'));
afterAll(() => rmSync(folder, { recursive: true }));

const data = (seed: number, ...shape: number[]): tf.Tensor => tensorOf(new TestRandom(seed), shape);
const predict = (model: tf.LayersModel, x: tf.Tensor) => model.predict(x) as tf.Tensor;

/** Two branches, a layer used twice, a model inside the model, several activations. */
function branching(): tf.LayersModel {
  const input = tf.input({ shape: [4, 8] });
  const apply = (layer: tf.layers.Layer, x: tf.SymbolicTensor) => layer.apply(x) as tf.SymbolicTensor;
  const shared = tf.layers.dense({ units: 8, activation: 'relu', name: 'shared', biasInitializer: 'randomNormal' });
  const inner = tf.sequential({
    name: 'inner',
    layers: [
      tf.layers.dense({ units: 12, activation: 'swish', inputShape: [4, 8], name: 'inside' }),
      tf.layers.layerNormalization({ name: 'norm' }),
      tf.layers.dense({ units: 8, activation: 'tanh', useBias: false, name: 'outside' }),
    ],
  });
  const x = apply(shared, apply(shared, input));
  const sum = tf.layers.add({ name: 'sum' }).apply([x, apply(inner, input)]) as tf.SymbolicTensor;
  const output = apply(tf.layers.dense({ units: 6, activation: 'softmax', name: 'head' }), sum);
  return tf.model({ inputs: input, outputs: output });
}

/** One block of full rank, by the options that a structure needs. */
const FULL = STRUCTURED.map((structure): StructureOptions => {
  const { required, optional } = DEFINITIONS[structure];
  const blocks = [...required, ...optional].includes('nblocks') && { nblocks: 1 };
  return { structure, ...(required.includes('rank') && { rank: 8 }), ...blocks };
});

describe.each(BACKENDS)('on %s', (backend) => {
  beforeAll(() => tf.setBackend(backend));

  test.each(FULL)('at full rank the model stays what it was: $structure', async (options) => {
    const model = branching();
    const x = data(1, 3, 4, 8);
    const names = ['shared', 'inside', 'outside'];
    const { model: structured, report } = await sffn.structureModel(model, { ...options, layers: names });
    await expectClose(predict(structured, x), predict(model, x), 1e-5);
    expect(report.map(({ layer }) => layer).sort()).toEqual([...names].sort());
    for (const { error } of report) expect(error).toBeLessThan(1e-5);
    expect(structured.getLayer('shared').getClassName()).not.toBe('Dense');
    expect(structured.getLayer('head').getClassName()).toBe('Dense');
  });

  test.each(STRUCTURED)('smaller, fine-tuned, merged, saved: %s', async (structure) => {
    const model = branching();
    const x = data(1, 16, 4, 8);
    const y = predict(model, x);
    const { model: structured, report } = await sffn.structureModel(model, { structure, ratio: 0.5 });
    expect(report.length).toBeGreaterThan(1);
    for (const { error, parametersBefore, parametersAfter } of report) {
      expect(error).toBeGreaterThan(0.01);
      expect(error).toBeLessThan(1);
      expect(parametersAfter).toBeLessThan(parametersBefore);
    }
    const saved = report.reduce((sum, one) => sum + one.parametersBefore - one.parametersAfter, 0);
    expect(structured.countParams()).toBe(model.countParams() - saved);

    structured.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    const { history } = await structured.fit(x, y, { epochs: 15, batchSize: 16, verbose: 0 });
    expect(Number(history.loss?.at(-1))).toBeLessThan(0.8 * Number(history.loss?.[0]));

    const merged = await sffn.mergeModel(structured);
    const expected = predict(structured, x);
    await expectClose(predict(merged, x), expected, 1e-5);
    const handler = sffn.fileIO(join(folder, backend, structure));
    await merged.save(handler);
    const loaded = await tf.loadLayersModel(handler);
    await expectClose(predict(loaded, x), expected, 1e-5);
    expect(JSON.stringify(loaded.toJSON())).not.toMatch(/LowRank|BlockDense|BlockShuffle|SelfGuided|Structured/);
  });

  // Not with a layer used twice: tfjs does not dispose those.
  test('structuring and merging leave no tensor behind', async () => {
    const dense = () => tf.layers.dense({ units: 8, activation: 'relu' });
    const model = tf.sequential({ layers: [tf.layers.inputLayer({ inputShape: [8] }), dense(), dense()] });
    const { numTensors } = tf.memory();
    const { model: structured } = await sffn.structureModel(model, {
      structure: 'lowrank',
      rank: 2,
      guides: 'original',
    });
    const merged = await sffn.mergeModel(structured);
    merged.dispose();
    structured.dispose();
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  test('with the original matrix as guide the function is the original one, until alpha falls', async () => {
    const model = branching();
    const x = data(1, 8, 4, 8);
    const y = predict(model, x);
    const options = { structure: 'lowrank', rank: 2, layers: ['inside', 'outside'] } as const;
    const { model: guided } = await sffn.structureModel(model, { ...options, guides: 'original' });
    const { model: plain } = await sffn.structureModel(model, options);
    const { model: selfStarted } = await sffn.structureModel(model, { ...options, guides: 'merged' });
    await expectClose(predict(guided, x), y, 1e-5);
    await expectClose(predict(selfStarted, x), predict(plain, x), 1e-5);
    await expectClose(predict(await sffn.mergeModel(guided), x), y, 1e-5);
    guided.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
    const callback = sffn.guide(guided, { steps: 4, form: 'mixed' });
    await guided.fit(x, y, { epochs: 3, batchSize: 8, verbose: 0, callbacks: [callback] });
    await expectClose(predict(await sffn.mergeModel(guided), x), predict(guided, x), 1e-5);
    await guided.fit(x, y, { epochs: 2, batchSize: 8, verbose: 0, callbacks: [callback] });
    expect(guided.countParams()).toBe(plain.countParams());
    await expectClose(predict(await sffn.mergeModel(guided), x), predict(guided, x), 1e-5);
  });

  test('one-hot inputs and weights that were cast', async () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 5, inputShape: [7] })] });
    model.setWeights([tf.range(0, 35, 1, 'int32').reshape([7, 5]).toFloat(), tf.tensor1d([1, 2, 3, 4, 5])]);
    const { model: structured } = await sffn.structureModel(model, {
      structure: 'lowrank',
      rank: 2,
      layers: () => true,
    });
    const x = tf.oneHot(tf.tensor1d([3, 0, 6], 'int32'), 7);
    expect(x.dtype).toBe('int32');
    await expectClose(predict(structured, x), predict(model, x), 1e-5);
    await expectClose(predict(await sffn.mergeModel(structured), x), predict(model, x), 1e-5);
  });

  test.each([undefined, 'merged'] as const)(
    'regularizers and constraints of the dense layer: guides %s',
    async (guides) => {
      const dense = tf.layers.dense({
        units: 6,
        inputShape: [6],
        name: 'penalised',
        kernelRegularizer: 'l1l2',
        biasRegularizer: tf.regularizers.l2({ l2: 3 }),
        biasInitializer: 'ones',
        kernelConstraint: 'nonNeg',
      });
      const model = tf.sequential({ layers: [dense, tf.layers.dense({ units: 6, name: 'free' })] });
      const { model: structured, report } = await sffn.structureModel(model, { structure: 'lowrank', rank: 2, guides });
      expect(report.map(({ layer, kept, dropped }) => ({ layer, kept, dropped }))).toEqual([
        { layer: 'penalised', kept: ['biasRegularizer'], dropped: ['kernelRegularizer', 'kernelConstraint'] },
        { layer: 'free', kept: [], dropped: [] },
      ]);
      structured.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
      const x = data(3, 2, 6);
      expect(Number(await structured.trainOnBatch(x, predict(structured, x)))).toBeCloseTo(3 * 6, 5);
    },
  );

  test.each([undefined, 'original'] as const)('layers inside TimeDistributed: guides %s', async (guides) => {
    const block = tf.sequential({
      name: 'block',
      layers: [tf.layers.dense({ units: 8, inputShape: [8], activation: 'gelu_new' as 'relu', name: 'in_block' })],
    });
    const model = tf.sequential({
      layers: [
        tf.layers.timeDistributed({
          layer: tf.layers.dense({ units: 8, activation: 'swish', name: 'steps' }),
          inputShape: [3, 2, 8],
        }),
        tf.layers.reshape({ targetShape: [6, 8] }),
        tf.layers.timeDistributed({ layer: block }),
      ],
    });
    const x = data(1, 2, 3, 2, 8);
    const y = predict(model, x);
    const exact = await sffn.structureModel(model, {
      structure: 'lowrank',
      rank: 8,
      layers: ['steps', 'in_block'],
      guides,
    });
    expect(exact.report.map(({ layer }) => layer)).toEqual(['steps', 'in_block']);
    await expectClose(predict(exact.model, x), y, 1e-5);
    const { model: structured, report } = await sffn.structureModel(model, { structure: 'lowrank', rank: 2, guides });
    expect(report.map(({ layer }) => layer)).toEqual(['steps', 'in_block']);
    structured.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    const callbacks = [sffn.guide(structured, { steps: 4, form: 'mixed' })];
    const { history } = await structured.fit(x, y, { epochs: 15, verbose: 0, callbacks });
    expect(Number(history.loss?.at(-1))).toBeLessThan(Number(history.loss?.[guides ? 5 : 0]));
    expect(structured.trainableWeights).toHaveLength(2 * 3);
    const expected = predict(structured, x);
    const merged = await sffn.mergeModel(structured);
    await expectClose(predict(merged, x), expected, 1e-5);
    for (const [name, one] of Object.entries({ structured, merged })) {
      const handler = sffn.fileIO(join(folder, backend, `steps_${guides}_${name}`));
      await one.save(handler);
      await expectClose(predict(await tf.loadLayersModel(handler), x), expected, 1e-5);
    }
  });

  const everyLayer = (): [string, tf.layers.Layer][] => [
    ['gelu', layers.lowRankDense({ units: 6, rank: 3, activation: 'gelu', name: 'l1' })],
    ['swiglu', layers.blockShuffleDense({ units: 12, nblocks: 2, activation: 'swiglu', name: 'l2' })],
    [
      'relu, then tanh',
      layers.blockDense({ units: 6, rank: 2, nblocks: 2, activation: 'relu', tfjsActivation: 'tanh', name: 'l3' }),
    ],
    ['dense', layers.fusedDense({ units: 6, activation: 'silu', name: 'l4' })],
    ['a network', layers.structuredFeedForward({ structure: 'lowrank', rank: 3, hidden: 10, name: 'l5' })],
    [
      'a gated network',
      layers.structuredFeedForward({
        structure: 'dense',
        hidden: 10,
        activation: 'swiglu',
        useBias: false,
        name: 'l6',
      }),
    ],
    [
      'a guided network',
      layers.selfGuided({
        layer: layers.structuredFeedForward({ structure: 'lowrank', rank: 2 }),
        alpha: 0.3,
        name: 'l7',
      }),
    ],
  ];
  test.each([0, 1, 2, 3, 4, 5, 6])('mergeModel: layer %i, first in a sequential model', async (i) => {
    const [, layer] = everyLayer()[i]!;
    const model = tf.sequential({
      layers: [tf.layers.inputLayer({ inputShape: [6] }), layer, tf.layers.dense({ units: 2 })],
    });
    model.setWeights(model.getWeights().map((weight, j) => data(j + 1, ...weight.shape)));
    const merged = await sffn.mergeModel(model);
    await expectClose(predict(merged, data(9, 4, 6)), predict(model, data(9, 4, 6)), 1e-5);
    expect(merged.layers.some(({ name }) => name === layer.name)).toBe(true);
  });
});

test('mergeModel refuses factors with an activation between them', async () => {
  const layer = sffn.layers.lowRankDense({ units: 4, rank: 2, innerActivation: 'relu', inputShape: [6] });
  await expect(sffn.mergeModel(tf.sequential({ layers: [layer] }))).rejects.toThrow(
    "mergeModel: innerActivation: expected 'none' for a layer that is one matrix, got 'relu'",
  );
});

test('two layers of one name are refused, not mixed up', async () => {
  const dense = (inputShape: number[]) => tf.layers.dense({ units: 4, inputShape, name: 'same' });
  const model = tf.sequential({ layers: [tf.sequential({ layers: [dense([4])] }), dense([4])] });
  const message = "model: expected layers of different names, got 'two named same'";
  await expect(sffn.structureModel(model, { structure: 'lowrank', rank: 1 })).rejects.toThrow(
    `structureModel: ${message}`,
  );
  await expect(sffn.mergeModel(model)).rejects.toThrow(`mergeModel: ${message}`);
});

test('what structureModel refuses', async () => {
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 4, inputShape: [6], name: 'only' })] });
  const attempt = (options: StructureOptions) => sffn.structureModel(model, options);
  await expect(attempt({ structure: 'lowrank', rank: 2, layers: ['other'] })).rejects.toThrow(
    "structureModel: layers: expected Dense layers (only), got 'other'",
  );
  await expect(attempt({ structure: 'lowrank', rank: 5, layers: ['only'] })).rejects.toThrow(OptionError);
  await expect(attempt({ structure: 'blockdense', rank: 2, nblocks: 5, layers: ['only'] })).rejects.toThrow(
    OptionError,
  );
  await expect(attempt({ structure: 'other' as 'lowrank' })).rejects.toThrow(
    'structureModel: structure: expected one of',
  );
  // @ts-expect-error no factors with an activation between them are near to a matrix
  await expect(attempt({ structure: 'lowrank', rank: 2, innerActivation: 'silu' })).rejects.toThrow('innerActivation');
  const { report } = await attempt({ structure: 'lowrank', rank: 2, layers: ({ name }) => name === 'nothing' });
  expect(report).toEqual([]);
});
