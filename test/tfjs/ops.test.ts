/** Every op against tfjs's own ops on the same inputs: values, all gradients, gradients of gradients. */
import * as tf from '@tensorflow/tfjs';
import type { Activation } from '../../lib/ops';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { copyCounts } from '../../lib/tfjs';
import type { KernelAttributes } from '../../lib/tfjs/attributes';
import { composed } from '../../lib/tfjs/composed';
import { named } from '../../lib/tfjs/operands';
import { TestRandom } from '../support/random';
import { STRUCTURED } from '../support/structures';
import { applyLayer, asLayer, BACKENDS, expectClose, layerOf, sffn, type TestLayer, tensorOf } from './support';

const ACTIVATIONS: readonly Activation[] = ['none', 'gelu', 'silu', 'relu', 'swiglu'];

const INNER = ['gelu', 'silu', 'relu'] as const;

const attributesOf = (
  operands: string[],
  activation: Activation,
  first: TestLayer,
  second = first,
): KernelAttributes => ({ operands, activation, layers: [first, second], computeDtype: 'float32', training: true });

type Fn = (...inputs: tf.Tensor[]) => tf.Tensor;

/** y and every gradient of Σ y·c on random c. */
function derive(f: Fn, inputs: tf.Tensor[]): { y: tf.Tensor; gradients: tf.Tensor[] } {
  const y = f(...inputs);
  const dy = tensorOf(new TestRandom(99), y.shape);
  return { y, gradients: tf.grads(f)(inputs, dy) };
}

async function expectSame(ours: Fn, theirs: Fn, inputs: tf.Tensor[]): Promise<void> {
  const a = derive(ours, inputs);
  const b = derive(theirs, inputs);
  await expectClose(a.y, b.y);
  for (const [i, gradient] of a.gradients.entries()) await expectClose(gradient, b.gradients[i]!);
}

describe.each(BACKENDS)('on %s', (backend) => {
  beforeAll(async () => {
    expect(await tf.setBackend(backend)).toBe(true);
  });

  const cases = STRUCTURE_NAMES.flatMap((structure) =>
    ACTIVATIONS.flatMap((activation) => [0, 0.3].map((alpha) => ({ structure, activation, alpha }))),
  );
  test.each(cases)('a layer: $structure, $activation, guide $alpha', async ({ structure, activation, alpha }) => {
    const random = new TestRandom(7);
    const layer = layerOf(random, structure, [12, 18], alpha);
    const inputs = [tensorOf(random, [2, 3, 12]), ...layer.tensors];
    const attributes = attributesOf(['x', ...layer.names], activation, layer);
    await expectSame(
      (x, ...weights) => applyLayer(structure, x!, asLayer(layer, weights), { activation }),
      (...all) => composed(tf, named(attributes.operands, all), attributes),
      inputs,
    );
  });

  const pairs = STRUCTURE_NAMES.flatMap((first) => STRUCTURE_NAMES.map((second) => ({ first, second })));
  test.each(pairs)('a feedforward network: $first, $second', async ({ first, second }) => {
    for (const [activation, alpha] of [
      ['gelu', 0],
      ['swiglu', 0.4],
    ] as const) {
      const random = new TestRandom(11);
      const hidden = 12;
      const fc1 = layerOf(random, first, [12, activation === 'swiglu' ? 2 * hidden : hidden], alpha);
      const fc2 = layerOf(random, second, [hidden, 18], alpha);
      const names = [...fc1.names.map((name) => `${name}1`), ...fc2.names.map((name) => `${name}2`)];
      const attributes = attributesOf(['x', ...names], activation, fc1, fc2);
      await expectSame(
        (x, ...weights) =>
          sffn.structuredFFN(
            x!,
            asLayer(fc1, weights.slice(0, fc1.names.length)),
            asLayer(fc2, weights.slice(fc1.names.length)),
            { activation },
          ),
        (...all) => composed(tf, named(attributes.operands, all), attributes),
        [tensorOf(random, [7, 12]), ...fc1.tensors, ...fc2.tensors],
      );
    }
  });

  const activated = STRUCTURED.flatMap((structure) => INNER.map((inner) => ({ structure, inner })));
  test.each(activated)('$inner between the factors of $structure', async ({ structure, inner }) => {
    for (const alpha of [0, 0.3]) {
      const random = new TestRandom(13);
      const fc1 = layerOf(random, structure, [12, 18], alpha, inner);
      const fc2 = layerOf(random, 'lowrank', [18, 6], alpha, 'silu');
      const split = fc1.names.length;
      await expectSame(
        (x, ...weights) => applyLayer(structure, x!, asLayer(fc1, weights), { activation: 'gelu' }),
        (...all) => composed(tf, named(['x', ...fc1.names], all), attributesOf(['x', ...fc1.names], 'gelu', fc1)),
        [tensorOf(random, [7, 12]), ...fc1.tensors],
      );
      const names = ['x', ...fc1.names.map((name) => `${name}1`), ...fc2.names.map((name) => `${name}2`)];
      await expectSame(
        (x, ...weights) =>
          sffn.structuredFFN(x!, asLayer(fc1, weights.slice(0, split)), asLayer(fc2, weights.slice(split))),
        (...all) => composed(tf, named(names, all), attributesOf(names, 'gelu', fc1, fc2)),
        [tensorOf(random, [7, 12]), ...fc1.tensors, ...fc2.tensors],
      );
    }
  });

  test('the named ops are the layers of their structures', async () => {
    const random = new TestRandom(2);
    const x = tensorOf(random, [5, 12]);
    const ops = {
      dense: (_: tf.Tensor | null, u: tf.Tensor, bias: tf.Tensor) => sffn.dense(x, u, bias),
      lowrank: (v: tf.Tensor | null, u: tf.Tensor, bias: tf.Tensor) => sffn.lowRankLinear(x, v!, u, bias),
      blockdense: (v: tf.Tensor | null, u: tf.Tensor, bias: tf.Tensor) => sffn.blockDenseLinear(x, v!, u, bias),
      blockshuffle: (v: tf.Tensor | null, u: tf.Tensor, bias: tf.Tensor) => sffn.blockShuffleLinear(x, v!, u, bias),
    };
    for (const structure of ['dense', 'lowrank', 'blockdense', 'blockshuffle'] as const) {
      const layer = layerOf(random, structure, [12, 18]);
      const { v = null, u, bias } = asLayer(layer, layer.tensors);
      await expectClose(ops[structure](v, u, bias!), applyLayer(structure, x, asLayer(layer, layer.tensors), {}), 0);
    }
  });

  test.each(STRUCTURE_NAMES)('no rows give no rows, and gradients of zeros: %s', (structure) => {
    const layer = layerOf(new TestRandom(7), structure, [12, 18], 0.3);
    const f = (x: tf.Tensor, ...weights: tf.Tensor[]) =>
      applyLayer(structure, x, asLayer(layer, weights), { activation: 'gelu' });
    const inputs: [tf.Tensor, ...tf.Tensor[]] = [tf.zeros([0, 3, 12]), ...layer.tensors];
    // Dirty memory, so that zeros must have been written.
    tf.fill([18, 12], 7).dispose();
    expect(f(...inputs).shape).toEqual([0, 3, 18]);
    const gradients = tf.grads((...all) => f(all[0]!, ...all.slice(1)))(inputs, tf.zeros([0, 3, 18]));
    for (const [i, gradient] of gradients.entries()) {
      expect(gradient.shape).toEqual(inputs[i]!.shape);
      expect([...gradient.dataSync()].every((value) => value === 0)).toBe(true);
    }
  });

  test('no rows through a feedforward network', () => {
    const [fc1, fc2] = [{ u: tf.ones([8, 4]) }, { u: tf.ones([3, 8]) }];
    expect(sffn.structuredFFN(tf.zeros([0, 4]), fc1, fc2).shape).toEqual([0, 3]);
    const gradient = tf.grad((u: tf.Tensor) => sffn.structuredFFN(tf.zeros([0, 4]), { u }, fc2))(fc1.u);
    expect([...gradient.dataSync()]).toEqual(Array.from({ length: 32 }, () => 0));
  });

  test('tensors cast from int32 and bool', () => {
    const x = tf.tensor2d([[1, 2]], [1, 2], 'int32').toFloat();
    const weight = tf
      .tensor2d(
        [
          [1, 1],
          [2, 0],
        ],
        [2, 2],
        'int32',
      )
      .toFloat();
    expect([...sffn.dense(x, weight).dataSync()]).toEqual([3, 2]);
    const f = (value: tf.Tensor, w: tf.Tensor) => sffn.dense(value, w, tf.tensor1d([true, false], 'bool').toFloat());
    expect([...f(x, weight).dataSync()]).toEqual([4, 2]);
    const [dx, dweight] = tf.grads((...all) => f(all[0]!, all[1]!))([x, weight]);
    expect([...dx!.dataSync()]).toEqual([3, 1]);
    expect([...dweight!.dataSync()]).toEqual([1, 2, 1, 2]);
  });

  test('gradients of gradients', async () => {
    const random = new TestRandom(3);
    const layer = layerOf(random, 'blockshuffle', [12, 18]);
    const attributes = attributesOf(['x', ...layer.names], 'gelu', layer);
    const ours: Fn = (x, ...weights) => applyLayer('blockshuffle', x!, asLayer(layer, weights), { activation: 'gelu' });
    const theirs: Fn = (...all) => composed(tf, named(attributes.operands, all), attributes);
    const penalty = (f: Fn, weights: readonly tf.Tensor[]) => (x: tf.Tensor) =>
      tf.sum(tf.square(tf.grad((value: tf.Tensor) => tf.sum(f(value, ...weights)))(x)));
    const x = tensorOf(random, [4, 12]);
    await expectClose(tf.grad(penalty(ours, layer.tensors))(x), tf.grad(penalty(theirs, layer.tensors))(x));
    const byWeights = (f: Fn) => tf.grads((...weights: tf.Tensor[]) => penalty(f, weights)(x))([...layer.tensors]);
    const [a, b] = [byWeights(ours), byWeights(theirs)];
    for (const [i, gradient] of a.entries()) await expectClose(gradient, b[i]!);
  });

  test('several uses of one weight and of one input in a graph', async () => {
    const random = new TestRandom(5);
    const weight = tensorOf(random, [6, 6]);
    const x = tensorOf(random, [3, 6]);
    const ours = (w: tf.Tensor, x: tf.Tensor) =>
      sffn.dense(tf.add(sffn.dense(x, w), x), w, null, { activation: 'silu' });
    const theirs = (w: tf.Tensor, x: tf.Tensor) => {
      const times = (a: tf.Tensor) => tf.matMul(a, w, false, true);
      const pre = times(tf.add(times(x), x));
      return tf.mul(pre, tf.sigmoid(pre));
    };
    await expectSame(
      (w, x) => ours(w!, x!),
      (w, x) => theirs(w!, x!),
      [weight, x],
    );
  });

  test('variableGrads gives a gradient by each variable; a frozen one gets none', () => {
    const random = new TestRandom(6);
    const v = tf.variable(tensorOf(random, [2, 6]), true);
    const u = tf.variable(tensorOf(random, [4, 2]), false);
    const x = tensorOf(random, [3, 6]);
    const { grads } = tf.variableGrads(() => tf.sum<tf.Scalar>(sffn.lowRankLinear(x, v, u)));
    expect(Object.keys(grads)).toEqual([v.name]);
    tf.dispose([v, u]);
  });

  test('1,000 training steps leave no tensor behind', () => {
    const random = new TestRandom(8);
    const v = tf.variable(tensorOf(random, [2, 6], 0.5));
    const u = tf.variable(tensorOf(random, [4, 2], 0.5));
    const guide = tf.variable(tensorOf(random, [4, 6], 0.5));
    const x = tensorOf(random, [3, 6]);
    const optimizer = tf.train.adam(1e-3);
    const step = () =>
      optimizer.minimize(() => {
        const options = { activation: 'gelu', guide: { weight: guide, alpha: 0.5 } } as const;
        return tf.mean<tf.Scalar>(tf.square(sffn.lowRankLinear(x, v, u, null, options)));
      });
    step();
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    for (let i = 0; i < 1000; i++) step();
    sffn.lowRankLinear(x, v, u).dispose();
    expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers, numBytes });
    optimizer.dispose();
    tf.dispose([v, u, guide, x]);
  });

  test('a failing call leaves no tensor behind', () => {
    const x = tf.zeros([2, 3]);
    const { numTensors, numDataBuffers } = tf.memory();
    expect(() => sffn.dense(x, x, x)).toThrow('Dense: bias: expected [2], got [2, 3]');
    expect(() => tf.grad((value: tf.Tensor) => sffn.dense(value, value, value))(x)).toThrow('Dense: bias');
    expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers });
    x.dispose();
  });

  test('nothing is copied', () => {
    const random = new TestRandom(4);
    const before = copyCounts();
    tf.tidy(() => tf.grad((x: tf.Tensor) => sffn.dense(x, tensorOf(random, [4, 6])))(tensorOf(random, [3, 6])));
    expect(copyCounts()).toEqual(before);
  });

  test('the heap may grow during a call', () => {
    const [rows, features] = [64, 1500];
    const x = tf.ones([rows, features]);
    const weight = tf.fill([features, features], 0.5);
    const kept = [];
    // Each result is 9 MB and more: some of these calls must ask for a larger heap.
    for (let i = 0; i < 60; i++) {
      const [y, dweight] = tf.tidy(() => {
        const { value, grads } = tf.valueAndGrads((w: tf.Tensor) => sffn.dense(x, w))([weight]);
        return [value, grads[0]!];
      });
      kept.push(y, dweight);
      expect(y!.dataSync()[rows * features - 1]).toBe(features / 2);
      expect(dweight!.dataSync()[features * features - 1]).toBe(rows);
    }
    tf.dispose([x, weight, ...kept.filter((t) => t !== undefined)]);
  });
});

test('tensors made on one backend are usable on another', async () => {
  await tf.setBackend('cpu');
  const x = tf.tensor([[1, 2]]);
  const weight = tf.tensor([[3, 4]]);
  await tf.setBackend('wasm');
  expect([...sffn.dense(x, weight).dataSync()]).toEqual([11]);
  await tf.setBackend('cpu');
  expect([...sffn.dense(x, weight).dataSync()]).toEqual([11]);
});
