/** Graph models with our nodes, and the tool that puts them there. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { GraphOptions } from '../../lib/tfjs';
import { TestRandom } from '../support/random';
import { BACKENDS, expectClose, sffn, tensorOf } from './support';

const folder = mkdtempSync(join(tmpdir(), 'tfjs-graph-'));
afterAll(() => rmSync(folder, { recursive: true }));

const FLOAT = { type: 1 };
const text = (value: string) => Buffer.from(value).toString('base64');
const node = (name: string, op: string, input: string[] = [], attr: object = {}) => ({
  name,
  op,
  input,
  attr: { T: FLOAT, ...attr },
});
const constant = (name: string, shape: number[], type = 1) =>
  node(name, 'Const', [], {
    dtype: { type },
    value: { tensor: { dtype: type, tensorShape: { dim: shape.map((size) => ({ size })) } } },
  });
const placeholder = (name: string, shape: number[]) =>
  node(name, 'Placeholder', [], {
    dtype: FLOAT,
    shape: { shape: { dim: shape.map((size) => ({ size: String(size) })) } },
  });

const SHAPES: Readonly<Record<string, number[]>> = {
  w1: [6, 8],
  b1: [8],
  w2: [5, 8],
  w3: [40],
  b3: [8],
  w4: [8, 8],
  b4: [8],
  w5: [8, 4],
  shape: [2],
};

/** Products in every form that the tool knows, and some that it must leave alone. */
async function source(): Promise<tf.io.IOHandler> {
  const random = new TestRandom(1);
  const weights: tf.NamedTensorMap = {};
  for (const [name, shape] of Object.entries(SHAPES)) weights[name] = tensorOf(random, shape);
  weights.shape = tf.tensor1d([5, 8], 'int32');
  const { data, specs } = await tf.io.encodeWeights(weights);
  const fused = (...ops: string[]) => ({ fused_ops: { list: { s: ops.map(text) } }, num_args: { i: '1' } });
  const modelTopology = {
    node: [
      placeholder('x', [-1, 6]),
      ...Object.entries(SHAPES).map(([name, shape]) => constant(name, shape, name === 'shape' ? 3 : 1)),
      node('up/MatMul', 'MatMul', ['x', 'w1'], { transpose_a: { b: false }, transpose_b: { b: false } }),
      node('up/BiasAdd', 'BiasAdd', ['up/MatMul', 'b1']),
      node('up/Relu', 'Relu', ['up/BiasAdd']),
      node('back', 'MatMul', ['up/Relu:0', 'w2'], { transpose_b: { b: true } }),
      node('w3/Reshape', 'Reshape', ['w3', 'shape'], { Tshape: { type: 3 } }),
      node('again', '_FusedMatMul', ['back', 'w3/Reshape', 'b3'], fused('BiasAdd', 'Elu')),
      node('leaky', '_FusedMatMul', ['again', 'w4', 'b4'], {
        ...fused('BiasAdd', 'LeakyRelu'),
        leakyrelu_alpha: { f: 0.1 },
      }),
      node('relu', '_FusedMatMul', ['leaky', 'w4', 'b4'], fused('BiasAdd', 'Relu')),
      node('square', 'MatMul', ['relu', 'again'], { transpose_b: { b: true } }),
      node('out', 'MatMul', ['relu', 'w5']),
      node('sum', 'AddV2', ['out', 'out']),
    ],
    versions: { producer: 1 },
  };
  return tf.io.fromMemory({ modelTopology, weightSpecs: specs, weightData: data, format: 'graph-model' });
}

const ALL = ['up/MatMul', 'back', 'again', 'leaky', 'relu', 'out'];
const opsOf = ({ modelTopology }: tf.io.ModelArtifacts): string[] =>
  (modelTopology as { node: { op: string }[] }).node.map(({ op }) => op);

async function outputs(model: tf.GraphModel, x: tf.Tensor): Promise<tf.Tensor[]> {
  const result = model.execute(x, ['sum', 'square']);
  return Array.isArray(result) ? result : [result];
}

describe.each(BACKENDS)('on %s', (backend) => {
  beforeAll(() => tf.setBackend(backend));

  const exact: GraphOptions[] = [
    { structure: 'dense', nodes: ALL },
    { structure: 'dense', nodes: () => true },
    { structure: 'lowrank', rank: 4, nodes: ['out'] },
    { structure: 'lowrank', rank: 5, nodes: ['back', 'again'] },
    { structure: 'blockshuffle', nblocks: 1, nodes: ['up/MatMul', 'leaky', 'relu'] },
  ];
  test.each(exact)('at full rank the graph computes what it did: %j', async (options) => {
    const x = tensorOf(new TestRandom(2), [3, 6]);
    const handler = await source();
    const original = await tf.loadGraphModel(handler);
    const { model, artifacts, report } = await sffn.structureGraph(handler, options);
    const expected = await outputs(original, x);
    for (const [i, y] of (await outputs(model, x)).entries()) await expectClose(y, expected[i]!, 1e-4);
    expect(report).toHaveLength(Array.isArray(options.nodes) ? options.nodes.length : ALL.length);
    for (const { error } of report) expect(error).toBeLessThan(1e-5);
    expect(model.outputs.map(({ name }) => name)).toEqual(original.outputs.map(({ name }) => name));
    const names = artifacts.weightSpecs?.map(({ name }) => name) ?? [];
    if (options.structure === 'dense') {
      expect(opsOf(artifacts).filter((op) => op === 'MatMul' || op === '_FusedMatMul')).toEqual(['MatMul']);
      expect(names).not.toContain('w1');
      expect(names).not.toContain('shape');
    }
    model.dispose();
    original.dispose();
  });

  test('smaller: saved, loaded, executed later, differentiated', async () => {
    const x = tensorOf(new TestRandom(2), [3, 6]);
    const { model, artifacts, report } = await sffn.structureGraph(await source(), {
      structure: 'lowrank',
      rank: 2,
      nodes: ALL,
    });
    for (const { error, parametersAfter, parametersBefore } of report) {
      expect(error).toBeGreaterThan(0.01);
      expect(parametersAfter).toBeLessThan(parametersBefore);
    }
    const handler = sffn.fileIO(join(folder, backend));
    await handler.save?.(artifacts);
    const loaded = await tf.loadGraphModel(handler);
    const expected = await outputs(model, x);
    for (const [i, y] of (await outputs(loaded, x)).entries()) await expectClose(y, expected[i]!, 1e-6);
    // tfjs remarks that this graph would not need it.
    const remark = jest.spyOn(console, 'warn').mockImplementation(() => {});
    const later = await loaded.executeAsync(x, ['sum', 'square']);
    remark.mockRestore();
    for (const [i, y] of (Array.isArray(later) ? later : [later]).entries()) await expectClose(y, expected[i]!, 1e-6);

    const f = (value: tf.Tensor) => tf.sum(tf.square(loaded.execute(value, 'sum') as tf.Tensor));
    const gradient = tf.grad(f)(x);
    const step = 1e-2;
    const nudged = (sign: number) => tf.tidy(() => f(tf.add(x, tf.mul(gradient, sign * step))).dataSync()[0]!);
    const slope = tf.sum(tf.square(gradient)).dataSync()[0]!;
    expect((nudged(1) - nudged(-1)) / (2 * step) / slope).toBeCloseTo(1, 1);
  });

  test('tensors stay balanced', async () => {
    const handler = await source();
    const before = tf.memory().numTensors;
    const { model } = await sffn.structureGraph(handler, { structure: 'dense', nodes: ALL });
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('what structureGraph refuses and what it leaves alone', async () => {
  const handler = await source();
  const attempt = (options: GraphOptions) => sffn.structureGraph(handler, options);
  await expect(attempt({ structure: 'dense', nodes: ['square'] })).rejects.toThrow(
    "structureGraph: nodes: expected names of MatMul nodes with a constant matrix, got 'square'",
  );
  await expect(attempt({ structure: 'lowrank', rank: 99, nodes: ['out'] })).rejects.toThrow('rank: expected at most 4');
  // @ts-expect-error no factors with an activation between them are near to a matrix
  await expect(attempt({ structure: 'lowrank', rank: 2, innerActivation: 'silu' })).rejects.toThrow('innerActivation');
  await expect(sffn.structureGraph({}, { structure: 'dense' })).rejects.toThrow('expected a handler that loads');
  const layers = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [1] })] });
  const save = sffn.fileIO(join(folder, 'layers'));
  await layers.save(save);
  await expect(sffn.structureGraph(save, { structure: 'dense' })).rejects.toThrow('no graph model');
  const { report } = await attempt({ structure: 'dense' });
  expect(report).toEqual([]);
});

describe.each(BACKENDS)('on %s, what stands beside the graph', (backend) => {
  beforeAll(() => tf.setBackend(backend));

  /** w and the tables' constants; each attribute is of the form of a converted model. */
  async function load(nodes: object[], weights: tf.NamedTensorMap, rest: object = {}): Promise<tf.io.IOHandler> {
    const { data, specs } = await tf.io.encodeWeights(weights);
    const artifacts = { weightSpecs: specs, weightData: data, format: 'graph-model', ...rest };
    return tf.io.fromMemory({ modelTopology: { node: nodes, versions: { producer: 1 } }, ...artifacts });
  }

  test.each(['dense', 'lowrank'] as const)('lookup tables that are filled at the start: %s', async (structure) => {
    const w = tensorOf(new TestRandom(1), [6, 4]);
    const types = { key_dtype: { type: 3 }, value_dtype: FLOAT };
    const table = node('table', 'HashTableV2', [], types);
    const handler = await load(
      [
        placeholder('x', [-1, 6]),
        { ...placeholder('ids', [-1]), attr: { dtype: { type: 3 } } },
        table,
        constant('w', [6, 4]),
        constant('missing', []),
        node('y', 'MatMul', ['x', 'w']),
        node('found', 'LookupTableFindV2', ['table', 'ids', 'missing']),
      ],
      {
        w,
        missing: tf.scalar(-1),
        keys: tf.tensor1d([10, 20], 'int32'),
        values: tf.tensor1d([1.5, 2.5]),
      },
      {
        modelInitializer: {
          node: [
            table,
            constant('keys', [2], 3),
            constant('values', [2]),
            node('fill', 'LookupTableImportV2', ['table', 'keys', 'values'], { Tin: { type: 3 }, Tout: FLOAT }),
          ],
          versions: { producer: 1 },
        },
      },
    );
    const options = { structure, ...(structure === 'lowrank' && { rank: 4 }), nodes: ['y'] };
    const { model, artifacts } = await sffn.structureGraph(handler, options);
    expect(opsOf(artifacts)).not.toContain('MatMul');
    const x = tensorOf(new TestRandom(2), [3, 6]);
    const inputs = { x, ids: tf.tensor1d([20, 7, 10], 'int32') };
    const [y, found] = (await model.executeAsync(inputs, ['y', 'found'])) as tf.Tensor[];
    await expectClose(y!, tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), 1e-5);
    expect([...found!.dataSync()]).toEqual([2.5, -1, 1.5]);
    model.dispose();
  });

  test('functions keep their constants, also those named as one that goes', async () => {
    const [w, offset] = [tensorOf(new TestRandom(1), [6, 4]), tensorOf(new TestRandom(2), [4])];
    const handler = await load([placeholder('x', [-1, 6]), constant('w', [6, 4]), node('y', 'MatMul', ['x', 'w'])], {
      w,
      offset,
    });
    const artifacts = (await handler.load?.()) as tf.io.ModelArtifacts;
    const one = {
      signature: { name: 'f', inputArg: [], outputArg: [] },
      nodeDef: [constant('w', [6, 4]), constant('offset', [4])],
      ret: {},
    };
    const topology = { ...artifacts.modelTopology, library: { function: [one] } };
    const source = tf.io.fromMemory({ ...artifacts, modelTopology: topology });
    const { artifacts: structured } = await sffn.structureGraph(source, { structure: 'dense', nodes: ['y'] });
    expect(structured.weightSpecs?.map(({ name }) => name).sort()).toEqual(['offset', 'w', 'y/u']);
  });

  test('matrices of int32 and drawn ones stay; a cast one is taken', async () => {
    const int32 = { type: 3 };
    const handler = await load(
      [
        placeholder('x', [-1, 2]),
        constant('w', [2, 2], 3),
        constant('shape', [2], 3),
        node('integers', 'Cast', ['x'], { SrcT: FLOAT, DstT: int32 }),
        node('product', 'MatMul', ['integers', 'w'], { T: int32 }),
        node('drawn', 'RandomUniform', ['shape'], { dtype: FLOAT, T: int32, seed: { i: '1' }, seed2: { i: '1' } }),
        node('noise', 'MatMul', ['x', 'drawn']),
        node('cast', 'Cast', ['w'], { SrcT: int32, DstT: FLOAT }),
        node('y', 'MatMul', ['x', 'cast']),
      ],
      { w: tf.tensor2d([1, 2, 3, 4], [2, 2], 'int32'), shape: tf.tensor1d([2, 2], 'int32') },
    );
    const { model, report } = await sffn.structureGraph(handler, { structure: 'dense', nodes: () => true });
    expect(report.map(({ layer }) => layer)).toEqual(['y']);
    expect([...(model.execute(tf.tensor2d([[1, 1]]), 'y') as tf.Tensor).dataSync()]).toEqual([4, 6]);
    await expect(sffn.structureGraph(handler, { structure: 'dense', nodes: ['product'] })).rejects.toThrow(
      "structureGraph: nodes: expected products with float32 matrices, got 'product'",
    );
    const none = await sffn.structureGraph(handler, { structure: 'dense', nodes: [] });
    expect(none.report).toEqual([]);
  });
});

test('a node may have an activation between its factors', async () => {
  const [v, u, x] = [tensorOf(new TestRandom(1), [2, 3]), tensorOf(new TestRandom(2), [4, 2]), tf.ones([1, 3])];
  const modelTopology = {
    versions: { producer: 1 },
    node: [
      placeholder('x', [-1, 3]),
      constant('v', [2, 3]),
      constant('u', [4, 2]),
      node('y', 'LowRankLinear', ['x', 'v', 'u'], {
        operands: { s: text('v,u') },
        innerActivation1: { s: text('relu') },
      }),
    ],
  };
  const { data, specs } = await tf.io.encodeWeights({ v, u });
  const model = await tf.loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs: specs, weightData: data }));
  const expected = tf.matMul(tf.relu(tf.matMul(x, v as tf.Tensor2D, false, true)), u as tf.Tensor2D, false, true);
  await expectClose(model.execute(x, 'y') as tf.Tensor, expected);
});

test('a node with wrong operands says so', async () => {
  const modelTopology = {
    versions: { producer: 1 },
    node: [
      placeholder('x', [-1, 2]),
      constant('w', [3, 2]),
      node('y', 'Dense', ['x', 'w'], { operands: { s: text('u,bias') } }),
    ],
  };
  const { data, specs } = await tf.io.encodeWeights({ w: tf.ones([3, 2]) });
  const model = await tf.loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs: specs, weightData: data }));
  expect(() => model.execute(tf.ones([1, 2]), 'y')).toThrow(
    "Dense: operands: expected x and 2 weights, got '2 inputs'",
  );
});
