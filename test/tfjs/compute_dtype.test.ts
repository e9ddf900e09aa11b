/** Computing in bfloat16 inside of tfjs's float32 tensors: against float32, bit by bit against raw arrays, in files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { memoryStats, OptionError } from '../../lib';
import { defineLinear, fromBfloat16, toBfloat16 } from '../../lib/functional';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { BFLOAT16, relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';
import { applyLayer, asLayer, BACKENDS, layerOf, sffn, tensorOf } from './support';

const { layers } = sffn;
const folder = mkdtempSync(join(tmpdir(), 'tfjs-bfloat16-'));
afterAll(() => rmSync(folder, { recursive: true }));

const bfloat16 = { computeDtype: 'bfloat16' } as const;
type Options = { readonly computeDtype?: 'float32' | 'bfloat16' };

/** Fails unless `actual` is `expected` but for roundings to bfloat16, of which there must be some. */
function expectRounded(actual: tf.Tensor, expected: tf.Tensor, tolerance = BFLOAT16.tolerance): void {
  expect([actual.dtype, actual.shape]).toEqual(['float32', expected.shape]);
  const error = relativeError(actual.dataSync(), expected.dataSync());
  expect(error).toBeLessThan(tolerance);
  expect(error).toBeGreaterThan(0);
}

const data = (seed: number, ...shape: number[]): tf.Tensor => tensorOf(new TestRandom(seed), shape);

describe.each(BACKENDS)('on %s', (backend) => {
  beforeAll(() => tf.setBackend(backend));

  /** y and the gradients of f(inputs)·dy in both types. */
  function compare(f: (options: Options, ...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): void {
    tf.tidy(() => {
      const [ours, exact] = [bfloat16, {}].map((options) => {
        const y = f(options, ...inputs);
        return { y, gradients: tf.grads((...all: tf.Tensor[]) => f(options, ...all))(inputs, data(99, ...y.shape)) };
      });
      expectRounded(ours!.y, exact!.y);
      for (const [i, gradient] of ours!.gradients.entries())
        expectRounded(gradient, exact!.gradients[i]!, BFLOAT16.gradientTolerance);
    });
  }

  const cases = STRUCTURE_NAMES.flatMap((structure) => [0, 0.3].map((alpha) => ({ structure, alpha })));
  test.each(cases)(
    'a layer and a network agree with float32: $structure, guide $alpha',
    async ({ structure, alpha }) => {
      const random = new TestRandom(7);
      const layer = layerOf(random, structure, [12, 18], alpha);
      const x = tensorOf(random, [2, 3, 12]);
      for (const activation of ['none', 'gelu', 'swiglu'] as const)
        compare(
          (options, input, ...weights) =>
            applyLayer(structure, input!, asLayer(layer, weights), { activation, ...options }),
          [x, ...layer.tensors],
        );
      const second = layerOf(random, 'lowrank', [18, 12], alpha);
      const split = layer.names.length;
      const before = await allocatedWithoutGarbage();
      compare(
        (options, input, ...weights) =>
          sffn.structuredFFN(
            input!,
            asLayer(layer, weights.slice(0, split)),
            asLayer(second, weights.slice(split)),
            options,
          ),
        [x, ...layer.tensors, ...second.tensors],
      );
      expect(memoryStats().allocated).toBe(before);
    },
  );

  test('results are those of bfloat16 arrays, bit by bit', () => {
    const [x, v, u, bias] = [data(1, 5, 8), data(2, 3, 8), data(3, 6, 3), data(4, 6)];
    const bits = (t: tf.Tensor) => toBfloat16(Float32Array.from(t.dataSync()));
    const layer = defineLinear({ structure: 'lowrank', inFeatures: 8, outFeatures: 6, rank: 3, activation: 'gelu' });
    const inputs = { x: bits(x!), v: bits(v!), u: bits(u!), bias: bits(bias!) };
    const { y, saved } = layer.forward(inputs, { training: true });
    const dy = data(5, 5, 6);
    const { dx, dv, du, dbias } = layer.backward({ dy: bits(dy), ...inputs, saved });
    const f = (...[a, b, c, d]: tf.Tensor[]) =>
      sffn.lowRankLinear(a!, b!, c!, d, { activation: 'gelu', computeDtype: 'bfloat16' });
    const all = [x!, v!, u!, bias!];
    const ours = [f(...all), ...tf.grads(f)(all, dy)].map((t) => Float32Array.from(t.dataSync()));
    expect(ours).toEqual([y, dx!, dv!, du!, dbias!].map((array) => fromBfloat16(array)));
  });

  test('no rows give no rows, and second gradients are in float32', () => {
    const u = data(1, 3, 4);
    expect(sffn.dense(tf.zeros([0, 4]), u, null, bfloat16).shape).toEqual([0, 3]);
    const second = (options: Options) => {
      const first = tf.grad((x: tf.Tensor) =>
        tf.sum(tf.square(sffn.dense(x, u, null, { activation: 'silu', ...options }))),
      );
      return tf.grad((x: tf.Tensor) => tf.sum(tf.square(first(x))))(data(2, 2, 4));
    };
    expect(relativeError(second(bfloat16).dataSync(), second({}).dataSync())).toBeLessThan(BFLOAT16.gradientTolerance);
  });

  const MAKERS: Readonly<Record<string, (options: Options) => tf.layers.Layer>> = {
    lowRankDense: (options) => layers.lowRankDense({ units: 8, rank: 3, activation: 'silu', seed: 1, ...options }),
    'a network': (options) =>
      layers.structuredFeedForward({ structure: 'blockdense', rank: 4, nblocks: 2, units: 8, seed: 1, ...options }),
    'a guided one': (options) =>
      layers.selfGuided({ layer: layers.blockShuffleDense({ units: 8, nblocks: 2, seed: 1, ...options }) }),
  };
  test.each(Object.entries(MAKERS))('%s trains its float32 variables, and stays so in files', async (name, make) => {
    const modelOf = (options: Options) =>
      tf.sequential({ layers: [tf.layers.inputLayer({ inputShape: [6] }), make(options)] });
    const [model, exact] = [modelOf(bfloat16), modelOf({})];
    const [x, y] = [data(2, 7, 6), data(3, 7, 8)];
    expectRounded(model.predict(x) as tf.Tensor, exact.predict(x) as tf.Tensor);
    model.compile({ optimizer: tf.train.adam(0.02), loss: 'meanSquaredError' });
    const { history } = await model.fit(x, y, { epochs: 5, verbose: 0 });
    expect(Number(history.loss?.at(-1))).toBeLessThan(Number(history.loss?.[0]));
    // Masters: steps smaller than those of bfloat16 are not lost.
    const weights = Float32Array.from(model.getWeights()[0]!.dataSync());
    expect(fromBfloat16(toBfloat16(weights))).not.toEqual(weights);
    const handler = sffn.fileIO(join(folder, backend, name));
    await model.save(handler);
    const loaded = await tf.loadLayersModel(handler);
    expect(JSON.stringify(loaded.layers.at(-1)!.getConfig())).toContain('"computeDtype":"bfloat16"');
    expect((loaded.predict(x) as tf.Tensor).dataSync()).toEqual((model.predict(x) as tf.Tensor).dataSync());
  });

  test('structureModel makes such layers', async () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 9, inputShape: [8], name: 'wide' })] });
    const options = { structure: 'lowrank', rank: 2, layers: ['wide'] } as const;
    const [ours, exact] = await Promise.all([
      sffn.structureModel(model, { ...options, ...bfloat16 }),
      sffn.structureModel(model, options),
    ]);
    const x = data(2, 4, 8);
    expectRounded(ours.model.predict(x) as tf.Tensor, exact.model.predict(x) as tf.Tensor);
  });

  test('structureGraph makes such nodes', async () => {
    const w = data(1, 6, 8);
    const { data: weightData, specs: weightSpecs } = await tf.io.encodeWeights({ w });
    const T = { type: 'DT_FLOAT' };
    const shape = (...sizes: number[]) => ({ dim: sizes.map((size) => ({ size: String(size) })) });
    const source = tf.io.fromMemory({
      modelTopology: {
        versions: { producer: 1 },
        node: [
          { name: 'x', op: 'Placeholder', attr: { dtype: T, shape: { shape: shape(-1, 6) } } },
          {
            name: 'w',
            op: 'Const',
            attr: { dtype: T, value: { tensor: { dtype: 'DT_FLOAT', tensorShape: shape(6, 8) } } },
          },
          { name: 'y', op: 'MatMul', input: ['x', 'w'], attr: { T } },
        ],
      },
      weightSpecs,
      weightData,
    });
    const { artifacts } = await sffn.structureGraph(source, { structure: 'dense', nodes: ['y'], ...bfloat16 });
    const loaded = await tf.loadGraphModel(tf.io.fromMemory(artifacts));
    const x = data(2, 3, 6);
    expectRounded(loaded.execute(x, 'y') as tf.Tensor, tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D));
  });
});

test('other types are refused by name', async () => {
  const float16 = { computeDtype: 'float16' } as never as Options;
  const got = "computeDtype: expected one of float32, bfloat16, got 'float16'";
  const refused = (call: () => unknown, message: string) => {
    expect(call).toThrow(OptionError);
    expect(call).toThrow(`${message}: ${got}`);
  };
  refused(() => layers.fusedDense({ units: 2, ...float16 }), 'FusedDense');
  refused(() => layers.structuredFeedForward({ structure: 'dense', ...float16 }), 'StructuredFeedForward');
  const [x, u] = [data(1, 2, 3), data(2, 3, 3)];
  refused(() => sffn.dense(x, u, null, float16), 'Dense');
  refused(() => sffn.structuredFFN(x, { u }, { u }, float16), 'StructuredFFN');
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 3, inputShape: [3] })] });
  await expect(sffn.structureModel(model, { structure: 'lowrank', rank: 1, ...float16 })).rejects.toThrow(
    `structureModel: ${got}`,
  );
  await expect(sffn.structureGraph({ load: async () => ({}) }, { structure: 'dense', ...float16 })).rejects.toThrow(
    `structureGraph: ${got}`,
  );
});
