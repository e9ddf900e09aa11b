/** The layers inside tfjs models: shapes, training, saving, self-guided training. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { OptionError } from '../../lib';
import { install } from '../../lib/tfjs';
import { TestRandom } from '../support/random';
import { BACKENDS, expectClose, sffn, tensorOf } from './support';

const { layers } = sffn;
const folder = mkdtempSync(join(tmpdir(), 'tfjs-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Layer = ReturnType<typeof layers.linear>;

const MAKERS: Readonly<Record<string, () => Layer>> = {
  fusedDense: () => layers.fusedDense({ units: 8, activation: 'gelu', seed: 1 }),
  lowRankDense: () => layers.lowRankDense({ units: 8, rank: 3, activation: 'silu', seed: 1 }),
  'lowRankDense by ratio, with an activation of tfjs': () =>
    layers.lowRankDense({ units: 8, ratio: 0.5, tfjsActivation: 'tanh', useBias: false, seed: 1 }),
  'lowRankDense with an activation between its factors': () =>
    layers.lowRankDense({ units: 8, rank: 3, innerActivation: 'silu', seed: 1 }),
  blockDense: () => layers.blockDense({ units: 8, rank: 4, nblocks: 2, seed: 1 }),
  blockShuffleDense: () => layers.blockShuffleDense({ units: 16, nblocks: 2, activation: 'swiglu', seed: 1 }),
  structuredFeedForward: () =>
    layers.structuredFeedForward({ structure: 'lowrank', rank: 4, hidden: 12, units: 8, seed: 1 }),
  'structuredFeedForward with activations between its factors': () =>
    layers.structuredFeedForward({
      structure: 'btt',
      rank: 1,
      hidden: 12,
      units: 8,
      innerActivation: 'gelu',
      seed: 1,
    }),
  'structuredFeedForward with swiglu': () =>
    layers.structuredFeedForward({
      structure: 'blockshuffle',
      nblocks: 2,
      hidden: 8,
      units: 8,
      activation: 'swiglu',
      seed: 1,
    }),
};

const WRAPPED = Object.fromEntries(
  Object.entries(MAKERS)
    .filter(([name]) => name !== 'fusedDense')
    .map(([name, make]) => [`selfGuided ${name}`, () => layers.selfGuided({ layer: make() })]),
);
const ALL: [string, () => tf.layers.Layer][] = Object.entries({ ...MAKERS, ...WRAPPED });

const modelOf = (...list: tf.layers.Layer[]): tf.LayersModel => {
  const input = tf.input({ shape: [5, 6] });
  let x = tf.layers.dense({ units: 6 }).apply(input) as tf.SymbolicTensor;
  for (const layer of list) x = layer.apply(x) as tf.SymbolicTensor;
  return tf.model({ inputs: input, outputs: x });
};

const data = (seed: number, ...shape: number[]): tf.Tensor => tensorOf(new TestRandom(seed), shape);

describe.each(BACKENDS)('on %s', (backend) => {
  beforeAll(() => tf.setBackend(backend));

  test.each(ALL)('%s: shape, summary, training, files', async (name, make) => {
    const before = tf.memory().numTensors;
    const model = modelOf(make());
    expect(model.outputShape).toEqual([null, 5, 8]);
    model.summary(undefined, undefined, () => {});
    const x = data(2, 7, 5, 6);
    const y = data(3, 7, 5, 8);
    model.compile({ optimizer: tf.train.adam(0.02), loss: 'meanSquaredError' });
    const fit = () => model.fit(x, y, { epochs: 4, batchSize: 4, shuffle: false, verbose: 0 });
    const { history } = await fit();
    expect(Number(history.loss?.at(-1))).toBeLessThan(Number(history.loss?.[0]));
    const steady = tf.memory().numTensors;
    await fit();
    expect(tf.memory().numTensors).toBe(steady);

    const handler = sffn.fileIO(join(folder, backend, name));
    await model.save(handler);
    const loaded = await tf.loadLayersModel(handler);
    const [expected, actual] = [model.predict(x) as tf.Tensor, loaded.predict(x) as tf.Tensor];
    expect(await actual.data()).toEqual(await expected.data());
    expect(loaded.countParams()).toBe(model.countParams());
    tf.dispose([expected, actual, x, y]);
    loaded.dispose();
    model.optimizer.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each(ALL)('%s: int32 and bool inputs are those numbers', async (_, make) => {
    const layer = make();
    const numbers = tf.tensor2d([
      [1, 0, 1, 0, 0, 1],
      [0, 0, 1, 1, 0, 0],
    ]);
    const expected = layer.apply(numbers) as tf.Tensor;
    for (const dtype of ['int32', 'bool'] as const)
      await expectClose(layer.apply(tf.cast(numbers, dtype)) as tf.Tensor, expected, 0);
  });

  const PENALISED = {
    kernelRegularizer: tf.regularizers.l2({ l2: 1e6 }),
    biasRegularizer: tf.regularizers.l1({ l1: 10 }),
  };
  test.each([
    ['dense', () => layers.fusedDense({ units: 8, ...PENALISED })],
    ['lowrank', () => layers.lowRankDense({ units: 8, rank: 3, ...PENALISED })],
    ['a network', () => layers.structuredFeedForward({ structure: 'blockdense', rank: 4, nblocks: 2, ...PENALISED })],
    ['guided', () => layers.selfGuided({ layer: layers.lowRankDense({ units: 8, rank: 3, ...PENALISED }) })],
    ['by steps', () => tf.layers.timeDistributed({ layer: layers.lowRankDense({ units: 8, rank: 3, ...PENALISED }) })],
  ] as [string, () => tf.layers.Layer][])('regularizers add to the loss, also when loaded: %s', async (name, make) => {
    const layer = make();
    const input = tf.input({ shape: [5, 6] });
    const model = tf.model({ inputs: input, outputs: layer.apply(input) as tf.SymbolicTensor });
    model.setWeights(model.getWeights().map((weight, i) => data(i + 1, ...weight.shape)));
    const handler = sffn.fileIO(join(folder, backend, 'penalised', name));
    await model.save(handler);
    const x = data(8, 2, 5, 6);
    for (const one of [model, await tf.loadLayersModel(handler)]) {
      let penalty = 0;
      for (const { name: weight, read } of one.trainableWeights.map((w) => ({ name: w.name, read: () => w.read() })))
        for (const value of read().dataSync())
          penalty += /\/guide/.test(weight) ? 0 : weight.includes('bias') ? 10 * Math.abs(value) : 1e6 * value ** 2;
      expect(penalty).toBeGreaterThan(1e6);
      // Nothing else is in the loss: the model is its own target.
      one.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
      const loss = await one.trainOnBatch(x, one.predict(x) as tf.Tensor);
      expect(Number(loss) / penalty).toBeCloseTo(1, 5);
    }
  });

  test('a sequential model with the layer first', () => {
    const model = tf.sequential({ layers: [layers.lowRankDense({ units: 3, rank: 2, inputShape: [4] })] });
    expect((model.predict(data(1, 2, 4)) as tf.Tensor).shape).toEqual([2, 3]);
    expect(model.countParams()).toBe(2 * (4 + 3) + 3);
  });

  test('the guide starts as the exact matrix of the factors, so alpha does not matter', async () => {
    const x = data(4, 2, 5, 6);
    const config = { units: 8, rank: 3, activation: 'gelu', seed: 1 } as const;
    const plain = layers.lowRankDense(config);
    const guided = layers.selfGuided({ layer: layers.lowRankDense(config), alpha: 0.7 });
    await expectClose(guided.apply(x) as tf.Tensor, plain.apply(x) as tf.Tensor, 1e-5);
    expect(guided.trainableWeights.map(({ shape }) => shape)).toEqual([[3, 6], [8, 3], [8], [8, 6]]);
  });

  test('a frozen layer does not train, nor does its guide', async () => {
    const guided = layers.selfGuided({ layer: layers.lowRankDense({ units: 8, rank: 3 }), trainable: false });
    const model = modelOf(guided);
    expect(guided.trainableWeights).toEqual([]);
    expect(model.trainableWeights).toHaveLength(2);
    guided.trainable = true;
    expect(model.trainableWeights).toHaveLength(6);
  });

  test.each(['mixed', 'published', 'unbiased'] as const)(
    'the callback anneals and releases the guides: %s',
    async (form) => {
      const before = tf.memory().numTensors;
      const optimizer = tf.train.adam(0.01);
      const guided = [1, 2].map((seed) =>
        layers.selfGuided({
          layer: layers.lowRankDense({ units: 6, rank: 2, seed }),
          name: `guided_${backend}_${form}_${seed}`,
        }),
      );
      const model = modelOf(...guided);
      model.compile({ optimizer, loss: 'meanSquaredError' });
      const x = data(2, 8, 5, 6);
      const y = data(3, 8, 5, 6);
      const callback = sffn.guide(model, { steps: 6, form, seed: 1 });
      const alphas: number[] = [];
      const watch = { onBatchEnd: async () => void alphas.push(callback.guidance.alpha) };
      const fit = (epochs: number) =>
        model.fit(x, y, { epochs, batchSize: 2, shuffle: false, verbose: 0, callbacks: [callback, watch] });
      await fit(1);
      expect(model.trainableWeights).toHaveLength(2 + 2 * 4);
      const handler = sffn.fileIO(join(folder, `${backend}_${form}`));
      await model.save(handler);
      const resumed = await tf.loadLayersModel(handler);
      await expectClose(resumed.predict(x) as tf.Tensor, model.predict(x) as tf.Tensor, 1e-5);
      resumed.dispose();

      await fit(2);
      expect(alphas).toHaveLength(12);
      for (const step of [1, 2, 3]) expect(alphas[step - 1]).toBeCloseTo((1 + Math.cos((Math.PI * step) / 6)) / 2);
      expect(alphas.slice(5)).toEqual(Array.from({ length: 7 }, () => 0));
      expect(guided.every(({ released }) => released)).toBe(true);
      expect(model.trainableWeights).toHaveLength(2 + 2 * 3);
      // Adam's iterations, then two moments for each of the eight variables that are left.
      const slots = await optimizer.getWeights();
      expect(slots).toHaveLength(1 + 2 * 8);
      expect(slots.some((slot) => slot.name.includes('/guide/'))).toBe(false);
      const shapes = model.trainableWeights.map(({ shape }) => shape);
      expect(slots.slice(1).map(({ tensor }) => tensor.shape)).toEqual([...shapes, ...shapes]);

      await model.save(handler);
      const loaded = await tf.loadLayersModel(handler);
      await expectClose(loaded.predict(x) as tf.Tensor, model.predict(x) as tf.Tensor, 1e-6);
      loaded.dispose();
      tf.dispose([x, y]);
      model.dispose();
      optimizer.dispose();
      expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 5);
    },
  );
});

test('guides are released inside a sequential model, too', async () => {
  const layer = layers.selfGuided({ layer: layers.lowRankDense({ units: 4, rank: 2, seed: 1 }), inputShape: [6] });
  const model = tf.sequential({ layers: [layer, tf.layers.dense({ units: 4 })] });
  model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
  const callback = sffn.guide(model, { steps: 2 });
  const options = { epochs: 4, batchSize: 8, verbose: 0, callbacks: [callback] };
  const { history } = await model.fit(data(1, 8, 6), data(2, 8, 4), options);
  expect(history.loss).toHaveLength(4);
  expect(model.trainableWeights).toHaveLength(5);
});

const guidedModel = (seed: number): tf.LayersModel => {
  const guided = [1, 2].map((i) =>
    layers.selfGuided({ layer: layers.lowRankDense({ units: 6, rank: 2, seed: seed + i }) }),
  );
  return modelOf(...guided, tf.layers.dense({ units: 6 }));
};

test.each([
  ['adam', () => tf.train.adam(0.01)],
  ['momentum', () => tf.train.momentum(0.01, 0.9)],
  ['rmsprop', () => tf.train.rmsprop(0.01)],
  ['adagrad', () => tf.train.adagrad(0.01)],
] as [string, () => tf.Optimizer][])(
  'reloaded with its optimizer in the same process, a guided model trains as the other does: %s',
  async (name, optimizer) => {
    const model = guidedModel(1);
    const x = data(2, 8, 5, 6);
    const y = data(3, 8, 5, 6);
    model.compile({ optimizer: optimizer(), loss: 'meanSquaredError' });
    const options = { steps: 6, form: 'mixed' } as const;
    const callback = sffn.guide(model, options);
    const fit = async (one: tf.LayersModel, guide: typeof callback, epochs: number) => {
      const rest = { batchSize: 2, shuffle: false, verbose: 0, callbacks: [guide] };
      return (await one.fit(x, y, { ...rest, epochs })).history.loss;
    };
    await fit(model, callback, 1);
    const handler = sffn.fileIO(join(folder, `with_${name}`));
    await model.save(handler, { includeOptimizer: true });
    const loaded = await tf.loadLayersModel(handler);
    const resumed = sffn.guide(loaded, options);
    resumed.guidance.restore(callback.guidance.state());
    const losses = await fit(model, callback, 4);
    expect(await fit(loaded, resumed, 4)).toEqual(losses);
    expect(loaded.trainableWeights).toHaveLength(2 + 2 * 3 + 2);
    expect(resumed.guidance.finished).toBe(true);
  },
);

test('a layer that was frozen after compile keeps its place in the optimizer', async () => {
  const model = guidedModel(1);
  const optimizer = tf.train.adam(0.01);
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const callback = sffn.guide(model, { steps: 1 });
  model.layers[1]!.trainable = false;
  const warn = jest.spyOn(console, 'warn').mockImplementation(() => {});
  await model.fit(data(2, 8, 5, 6), data(3, 8, 5, 6), { epochs: 3, batchSize: 8, verbose: 0, callbacks: [callback] });
  warn.mockRestore();
  const slots = await optimizer.getWeights();
  const shapes = [...model.layers[1]!.weights, ...model.layers.slice(2).flatMap((l) => l.trainableWeights)];
  expect(slots.slice(1, 1 + shapes.length).map(({ tensor }) => tensor.shape)).toEqual(shapes.map(({ shape }) => shape));
});

test('guides that a restored schedule is past are released at once', async () => {
  const model = guidedModel(1);
  model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
  const callback = sffn.guide(model, { steps: 2 });
  callback.guidance.restore({ ...callback.guidance.state(), step: 2 });
  await model.fit(data(2, 8, 5, 6), data(3, 8, 5, 6), { epochs: 1, verbose: 0, callbacks: [callback] });
  expect(model.trainableWeights).toHaveLength(2 + 2 * 3 + 2);
});

describe('a guide beside early stopping', () => {
  const orders = {
    first: (guide: tf.CustomCallbackArgs, stop: tf.CustomCallbackArgs) => [guide, stop],
    last: (guide: tf.CustomCallbackArgs, stop: tf.CustomCallbackArgs) => [stop, guide],
  };
  test.each(['first', 'last'] as const)('%s, with a plain callback around it', async (order) => {
    const guided = layers.selfGuided({ layer: layers.lowRankDense({ units: 6, rank: 2 }), inputShape: [5, 6] });
    for (const model of [guidedModel(1), tf.sequential({ layers: [guided] })]) {
      // Nothing is learned, so that no epoch is better than the first.
      model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
      const callback = sffn.guide(model, { steps: 2, form: 'mixed' });
      sffn.guide(model, { steps: 5 });
      let epochs = 0;
      const watch = { onEpochEnd: async () => void epochs++ };
      const stop = tf.callbacks.earlyStopping({ monitor: 'loss', patience: 2, minDelta: 1e-3 });
      const callbacks = [...orders[order](callback, stop), watch];
      const rest = { epochs: 9, verbose: 0, callbacks };
      await model.fit(data(2, 8, 5, 6), data(3, 8, 5, 6), rest);
      expect(callback.guidance.finished).toBe(true);
      expect(epochs).toBe(3);
      const set = tf.data.array([{ xs: data(2, 1, 5, 6), ys: data(3, 1, 5, 6) }]);
      await model.fitDataset(set, rest);
      expect(epochs).toBe(6);
    }
  });
});

test('what the layers refuse', () => {
  expect(() => layers.lowRankDense({ units: 0, rank: 1 })).toThrow(OptionError);
  const build = (layer: tf.layers.Layer) => () => layer.apply(tf.input({ shape: [4] }));
  expect(build(layers.lowRankDense({ units: 3, rank: 9 }))).toThrow('LowRankLinear: rank: expected at most 3, got 9');
  expect(build(layers.lowRankDense({ units: 3 }))).toThrow('expected either ratio or rank');
  expect(build(layers.blockDense({ units: 4, rank: 3, nblocks: 2 }))).toThrow('BlockDenseLinear: nblocks');
  expect(() => layers.selfGuided({ layer: tf.layers.dense({ units: 2 }) })).toThrow('expected a structured layer');
  expect(build(layers.fusedDense({ units: 3, innerActivation: 'silu' }))).toThrow(
    "Linear: innerActivation: expected none for dense, got 'silu'",
  );
});

test('a core without layers has the ops alone', () => {
  const { layers: _, ...core } = { ...tf };
  const alone = install(core as typeof tf);
  expect(alone.dense(tf.ones([1, 2]), tf.ones([3, 2])).shape).toEqual([1, 3]);
  expect(() => alone.layers).toThrow('expected a tfjs with layers');
});
