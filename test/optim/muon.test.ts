/** Muon against its definition in float64; what a step that is none, a stop, or a parameter that goes leaves behind. */
import {
  emptyCache,
  linear,
  mean,
  memoryStats,
  OptionError,
  OutOfMemoryError,
  parameter,
  ShapeError,
  StateDictError,
  setMemoryLimit,
  square,
  sub,
  type Tensor,
  tensor,
  zeros,
} from '../../lib';
import { Embedding, Linear, TransformerLM } from '../../lib/nn';
import { AdamW, clipGradNorm, Muon, type MuonOptions, newtonSchulz } from '../../lib/optim';
import { tidy } from '../../lib/scope';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';

type Matrix = number[][];

const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, value, k) => sum + value * b[k]![j]!, 0)));
const combined = (a: Matrix, x: number, b: Matrix, y: number): Matrix =>
  a.map((row, i) => row.map((value, j) => x * value + y * b[i]![j]!));

/** Jordan's zeropower_via_newtonschulz5, in float64 and with loops. */
function orthogonal(g: Matrix, iterations = 5): Matrix {
  const tall = g.length > g[0]!.length;
  let x = tall ? transposed(g) : g;
  const norm = Math.sqrt(x.flat().reduce((sum, value) => sum + value * value, 0)) + 1e-7;
  x = x.map((row) => row.map((value) => value / norm));
  for (let i = 0; i < iterations; i++) {
    const s = product(x, transposed(x));
    const polynomial = combined(s, -4.775, product(s, s), 2.0315);
    x = combined(x, 3.4445, product(polynomial, x), 1);
  }
  return tall ? transposed(x) : x;
}

/** [..., rows, columns] as a list of matrices, and back. */
function matricesOf(values: ArrayLike<number>, shape: readonly number[]): Matrix[] {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return Array.from({ length: values.length / rows / columns }, (_, b) =>
    Array.from({ length: rows }, (_row, i) =>
      Array.from({ length: columns }, (_column, j) => values[(b * rows + i) * columns + j]!),
    ),
  );
}

/** A parameter as Muon should change it. */
class Reference {
  readonly momentum: number[];
  constructor(
    readonly values: number[],
    readonly shape: readonly number[],
    readonly options: Required<Pick<MuonOptions, 'momentum' | 'nesterov' | 'weightDecay' | 'adjustLr'>>,
  ) {
    this.momentum = values.map(() => 0);
  }
  step(gradient: readonly number[], lr: number): void {
    const { momentum: mu, nesterov, weightDecay, adjustLr } = this.options;
    gradient.forEach((g, i) => {
      this.momentum[i] = mu * this.momentum[i]! + g;
    });
    const ahead = nesterov ? gradient.map((g, i) => g + mu * this.momentum[i]!) : this.momentum;
    const [rows, columns] = this.shape.slice(-2) as [number, number];
    const factor =
      adjustLr === 'original' ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
    matricesOf(ahead, this.shape)
      .flatMap((matrix) => orthogonal(matrix).flat())
      .forEach((update, i) => {
        this.values[i] = this.values[i]! * (1 - lr * weightDecay) - lr * factor * update;
      });
  }
}

const SHAPES = [
  [7, 7],
  [23, 5],
  [5, 31],
  [1, 9],
  [9, 1],
  [1, 1],
  [3, 6, 4],
  [4, 2, 11],
  [2, 3, 5, 2],
];
const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

test.each(SHAPES.map((shape) => [shape]))('newtonSchulz of %j is that of float64, matrix by matrix', (shape) => {
  const values = new TestRandom(3).array(sizeOf(shape));
  const y = tidy(() => newtonSchulz(tensor(values, shape)));
  expect(y.shape).toEqual(shape);
  const expected = matricesOf(values, shape).flatMap((matrix) => orthogonal(matrix).flat());
  expect(relativeError(y.data, expected)).toBeLessThan(2e-5);
});

test.each([1e18, 1e30, 3e38, 1e-30])('newtonSchulz of elements up to %d is that of float64', (largest) => {
  for (const shape of SHAPES) {
    const values = new TestRandom(5).array(sizeOf(shape));
    const most = values.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
    const large = values.map((value) => (value / most) * largest);
    const y = tidy(() => newtonSchulz(tensor(large, shape)));
    const expected = matricesOf(large, shape).flatMap((matrix) => orthogonal(matrix).flat());
    expect(relativeError(y.data, expected)).toBeLessThan(2e-5);
  }
});

test('newtonSchulz makes the rows of a wide matrix nearly orthonormal', () => {
  const y = newtonSchulz(tensor(new TestRandom(4).array(6 * 40), [6, 40]));
  const gram = product(matricesOf(y.data, [6, 40])[0]!, transposed(matricesOf(y.data, [6, 40])[0]!));
  gram.forEach((row, i) => {
    row.forEach((value, j) => {
      if (i === j) expect(Math.abs(value - 1)).toBeLessThan(0.5);
      else expect(Math.abs(value)).toBeLessThan(0.3);
    });
  });
  expect(newtonSchulz(zeros([3, 2])).toArray()).toEqual(new Float32Array(6));
  expect(newtonSchulz(zeros([0, 2])).shape).toEqual([0, 2]);
  expect(newtonSchulz(zeros([2, 3, 0])).shape).toEqual([2, 3, 0]);
  expect(() => newtonSchulz(zeros([3]))).toThrow(ShapeError);
});

const SETTINGS = { momentum: 0.95, nesterov: true, weightDecay: 0.1, adjustLr: 'original' } as const;

describe.each<[string, ConstructorParameters<typeof Reference>[2], number]>([
  ['as published', SETTINGS, 0],
  ['clipped', SETTINGS, 0.5],
  ['without Nesterov or decay', { ...SETTINGS, nesterov: false, momentum: 0.8, weightDecay: 0 }, 0],
  ['with the updates of AdamW', { ...SETTINGS, adjustLr: 'match-rms-adamw' }, 0],
])('Muon %s', (_, settings, maxGradNorm) => {
  test('matches its definition over steps', () => {
    const random = new TestRandom(7);
    const all = new Map(
      SHAPES.map((shape, i) => [`m${i}`, parameter(tensor(random.array(sizeOf(shape)), shape))] as const),
    );
    const optimizer = new Muon(all, settings);
    const references = new Map([...all].map(([name, p]) => [name, new Reference([...p.data], p.shape, settings)]));
    for (let t = 1; t <= 4; t++) {
      const gradients = new Map([...all].map(([name, { size }]) => [name, random.array(size)]));
      for (const [name, p] of all) p.grad = tensor(gradients.get(name)!, p.shape);
      const norm = Math.hypot(...[...gradients.values()].flatMap((g) => [...g]));
      expect(optimizer.step({ lr: 0.01 * t, maxGradNorm }).gradNorm).toBeCloseTo(norm, 4);
      const factor = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
      for (const [name, reference] of references)
        reference.step(
          Array.from(gradients.get(name)!, (g) => g * factor),
          0.01 * t,
        );
      optimizer.zeroGrad();
    }
    for (const [name, { data }] of all) expect(relativeError(data, references.get(name)!.values)).toBeLessThan(1e-5);
    expect(optimizer.stepCount).toBe(4);
    optimizer.dispose();
  });
});

/** One step from the same weights, with gradients up to `largest`. */
function stepWith(largest: number, maxGradNorm: number) {
  const shape = [5, 3];
  const [weights, gradients] = [1, 2].map((seed) => new TestRandom(seed).array(15)) as [Float32Array, Float32Array];
  const most = gradients.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
  const all = ['w', 'b'].map((name) => [name, parameter(tensor(weights, name === 'w' ? shape : [15]))] as const);
  const large = gradients.map((value) => (value / most) * largest);
  for (const [, p] of all) p.grad = tensor(large, p.shape);
  const optimizer = new Muon(new Map(all), SETTINGS);
  const result = optimizer.step({ lr: 0.1, maxGradNorm });
  const reference = new Reference([...weights], shape, SETTINGS);
  const norm = Math.hypot(...large, ...large);
  const factor = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
  reference.step(
    Array.from(large, (value) => value * factor),
    0.1,
  );
  const [w, b] = all.map(([, p]) => p.toArray());
  return { w, b, weights, reference: reference.values, norm, gradNorm: result.gradNorm, steps: optimizer.stepCount };
}

test.each([
  [1e18, 0],
  [1e18, 1],
  [1e30, 1],
  [1e37, 1],
  [1e-30, 0],
])('Muon steps on gradients up to %d, clipped to %d', (largest, maxGradNorm) => {
  const { w, b, weights, reference, norm, gradNorm, steps } = stepWith(largest, maxGradNorm);
  expect(relativeError(w!, reference)).toBeLessThan(1e-5);
  expect(Math.abs(gradNorm / norm - 1)).toBeLessThan(1e-6);
  expect([...b!].every((value, i) => Number.isFinite(value) && value !== weights[i])).toBe(true);
  expect(steps).toBe(1);
});

test.each([
  [1e20, 0],
  [1e30, 1e25],
  [5e37, 1],
  [3e38, 1],
])('gradients up to %d, clipped to %d, are too large, and no step is taken', (largest, maxGradNorm) => {
  const { w, b, weights, gradNorm, steps } = stepWith(largest, maxGradNorm);
  expect(gradNorm).toBe(Number.POSITIVE_INFINITY);
  expect([w, b]).toEqual([weights, weights]);
  expect(steps).toBe(0);
});

const CONFIG = {
  vocabSize: 11,
  dModel: 8,
  nLayers: 2,
  nHeads: 2,
  seqLen: 6,
  tieEmbeddings: false,
  learnedPositions: true,
  ffn: { structure: 'blockshuffle', nblocks: 2 },
} as const;

test('embeddings, the head, norms and biases are AdamW’s; matrices, blocks among them, are not', () => {
  const model = new TransformerLM(CONFIG);
  const names = [...new Muon(model).stateDict().tensors.keys()];
  const matrices = names.flatMap((name) => /^(.*)\.momentum_buffer$/.exec(name)?.[1] ?? []);
  const linear = (i: number, layers: string[]) => layers.map((layer) => `blocks.${i}.${layer}`);
  expect(matrices).toEqual([
    ...linear(0, ['attention.qkv.weight', 'attention.out.weight', 'ffn.fc1.weight', 'ffn.fc2.weight']),
    ...linear(1, ['attention.qkv.weight', 'attention.out.weight', 'ffn.fc1.v', 'ffn.fc1.u', 'ffn.fc2.v', 'ffn.fc2.u']),
  ]);
  const rest = names.flatMap((name) => /^(.*)\.exp_avg$/.exec(name)?.[1] ?? []);
  expect([...matrices, ...rest].sort()).toEqual([...model.namedParameters().keys()].sort());
  expect(rest).toEqual(expect.arrayContaining(['embedding.weight', 'positions.weight', 'head.weight', 'norm.bias']));
  expect([...new Muon(model, { isMatrix: ({ name }) => name === 'head.weight' }).stateDict().tensors.keys()]).toContain(
    'head.weight.momentum_buffer',
  );
  expect([...new Muon(new Embedding(3, 4)).stateDict().tensors.keys()]).toContain('weight.exp_avg');
});

test('the others step as AdamW alone does, at their part of the rate', () => {
  const make = () => {
    const random = new TestRandom(2);
    return ['w', 'b'].map((name) => [name, parameter(tensor(random.array(6), name === 'w' ? [2, 3] : [6]))] as const);
  };
  const [ours, theirs] = [new Map(make()), new Map(make().slice(1))];
  const muon = new Muon(ours, { adamwLrScale: 0.5, betas: [0.8, 0.9], decay: 'matrices' });
  const adamw = new AdamW(theirs, { betas: [0.8, 0.9], weightDecay: 0 });
  const random = new TestRandom(9);
  for (let i = 0; i < 3; i++) {
    ours.get('w')!.grad = tensor(random.array(6), [2, 3]);
    for (const all of [ours, theirs]) all.get('b')!.grad = tensor(new TestRandom(i).array(6));
    muon.step({ lr: 0.2 });
    adamw.step({ lr: 0.1 });
  }
  expect(ours.get('b')!.data).toEqual(theirs.get('b')!.data);
});

/** Linear regression with a low-rank target: y = W x. */
test('it learns', () => {
  const random = new TestRandom(12);
  const layer = new Linear({ inFeatures: 12, outFeatures: 8 });
  const [x, target] = [tensor(random.array(64 * 12), [64, 12]), tensor(random.array(8 * 12), [8, 12])];
  const optimizer = new Muon(layer, { weightDecay: 0 });
  const loss = (lr: number) => {
    const value = tidy(() => {
      const error = sub(layer.forward(x), linear(x, target));
      const mse = mean(square(error));
      mse.backward();
      return mse.item();
    });
    optimizer.step({ lr });
    optimizer.zeroGrad();
    return value;
  };
  const losses = Array.from({ length: 200 }, (_, i) => loss(0.1 * (1 - i / 200)));
  expect(losses.at(-1)!).toBeLessThan(losses[0]! / 1000);
});

const parameters = () => {
  const random = new TestRandom(1);
  const make = (shape: number[]) => parameter(tensor(random.array(sizeOf(shape)), shape));
  return new Map([
    ['w', make([3, 5])],
    ['blocks', make([2, 4, 3])],
    ['bias', make([7])],
  ]);
};
const setGradients = (all: ReadonlyMap<string, Tensor>, random: TestRandom) => {
  for (const p of all.values()) p.grad = tensor(random.array(p.size), p.shape);
};
const copies = (tensors: ReadonlyMap<string, Tensor>) =>
  new Map([...tensors].map(([name, t]) => [name, tensor(t.toArray(), t.shape)]));
const valuesOf = (tensors: ReadonlyMap<string, Tensor>) => [...tensors].map(([name, t]) => [name, ...t.toArray()]);

test('a loaded state goes on to the last bit', () => {
  const run = (stops: boolean) => {
    const [random, all] = [new TestRandom(5), parameters()];
    let optimizer = new Muon(all);
    for (let i = 0; i < 5; i++) {
      if (stops && i === 2) {
        const { stepCount, tensors } = optimizer.stateDict();
        const state = { stepCount, tensors: copies(tensors) };
        optimizer.dispose();
        optimizer = new Muon(all);
        optimizer.loadStateDict(state);
      }
      setGradients(all, random);
      optimizer.step({ lr: 0.01, maxGradNorm: 1 });
      optimizer.zeroGrad();
    }
    const { stepCount, tensors } = optimizer.stateDict();
    return [stepCount, valuesOf(all), valuesOf(tensors)];
  };
  expect(run(true)).toEqual(run(false));
});

test('a state that does not fit changes nothing', () => {
  const [random, all] = [new TestRandom(5), parameters()];
  const optimizer = new Muon(all);
  setGradients(all, random);
  optimizer.step();
  const { tensors } = optimizer.stateDict();
  const before = valuesOf(tensors);
  const zeroed = new Map([...tensors].map(([name, t]) => [name, zeros(t.shape)]));
  for (const name of ['blocks.momentum_buffer', 'bias.exp_avg']) {
    const state = { stepCount: 7, tensors: new Map(zeroed) };
    state.tensors.delete(name);
    expect(() => optimizer.loadStateDict(state)).toThrow(StateDictError);
    state.tensors.set(name, zeros([2]));
    expect(() => optimizer.loadStateDict(state)).toThrow(`${name}: expected`);
  }
  expect(valuesOf(optimizer.stateDict().tensors)).toEqual(before);
  expect(optimizer.stepCount).toBe(1);
});

test.each([Number.NaN, Number.POSITIVE_INFINITY])(
  'a gradient of %p changes nothing, and the step does not count',
  (bad) => {
    for (const spoiled of ['w', 'bias']) {
      const [random, all] = [new TestRandom(5), parameters()];
      const optimizer = new Muon(all);
      setGradients(all, random);
      optimizer.step({ lr: 0.01 });
      const before = [valuesOf(all), valuesOf(optimizer.stateDict().tensors)];
      all.get(spoiled)!.grad!.data[1] = bad;
      const { gradNorm } = optimizer.step({ lr: 0.01, maxGradNorm: 1 });
      expect(Number.isFinite(gradNorm)).toBe(false);
      expect([valuesOf(all), valuesOf(optimizer.stateDict().tensors)]).toEqual(before);
      expect(optimizer.stepCount).toBe(1);
    }
  },
);

test('gradients of zeros give no NaN, and only decay', () => {
  const all = parameters();
  const before = all.get('w')!.toArray();
  for (const p of all.values()) p.grad = zeros(p.shape);
  expect(new Muon(all).step({ lr: 0.1, maxGradNorm: 1 }).gradNorm).toBe(0);
  expect(
    relativeError(
      all.get('w')!.data,
      before.map((x) => x * 0.99),
    ),
  ).toBeLessThan(1e-6);
});

test('a parameter without gradient stays, and one that is removed is forgotten', () => {
  const [random, all] = [new TestRandom(5), parameters()];
  const optimizer = new Muon(all);
  setGradients(all, random);
  all.get('w')!.grad = null;
  const before = all.get('w')!.toArray();
  optimizer.step();
  expect(all.get('w')!.toArray()).toEqual(before);
  const { tensors } = optimizer.stateDict();
  optimizer.remove([all.get('blocks')!, all.get('bias')!]);
  expect([...optimizer.stateDict().tensors.keys()]).toEqual(['w.momentum_buffer']);
  expect(['blocks.momentum_buffer', 'bias.exp_avg'].map((name) => tensors.get(name)!.disposed)).toEqual([true, true]);
  optimizer.step();
  expect(optimizer.stepCount).toBe(1);
  setGradients(all, random);
  optimizer.step();
  expect([optimizer.stepCount, all.get('w')!.toArray()]).toEqual([2, expect.not.objectContaining(before)]);
});

test('the two halves of a step are the step', () => {
  const [whole, halves] = [parameters(), parameters()];
  const optimizers = [new Muon(whole), new Muon(halves)];
  for (let i = 0; i < 3; i++) {
    for (const all of [whole, halves]) setGradients(all, new TestRandom(i));
    const expected = optimizers[0]!.step({ lr: 0.01, maxGradNorm: 1 });
    const result = optimizers[1]!.prepareStep({ lr: 0.01 });
    optimizers[1]!.applyStep({ maxGradNorm: 1 });
    expect(result.gradNorm).toBe(expected.gradNorm);
  }
  expect(valuesOf(halves)).toEqual(valuesOf(whole));
  expect(() => optimizers[1]!.applyStep()).toThrow('Muon: applyStep: call prepareStep');
  optimizers[1]!.prepareStep();
  halves.get('w')!.grad = null;
  expect(() => optimizers[1]!.applyStep()).toThrow('Muon: applyStep: w has no gradient');
  expect(optimizers.map(({ stepCount }) => stepCount)).toEqual([3, 3]);
});

test('gradients that were clipped before give the step that clips', () => {
  const [inside, before] = [parameters(), parameters()];
  for (const all of [inside, before]) setGradients(all, new TestRandom(3));
  new Muon(inside).step({ lr: 0.01, maxGradNorm: 0.25 });
  clipGradNorm(before, 0.25);
  new Muon(before).step({ lr: 0.01 });
  for (const [name, { data }] of inside) expect(relativeError(data, before.get(name)!.data)).toBeLessThan(1e-6);
});

test('options that make no sense, and gradients of another shape, are refused', () => {
  const all = parameters();
  const refused: [MuonOptions, string][] = [
    [{ lr: -1 }, 'Muon: lr'],
    [{ momentum: 1 }, 'Muon: momentum'],
    [{ iterations: 0 }, 'Muon: iterations'],
    [{ nesterov: 1 as never }, 'Muon: nesterov'],
    [{ adjustLr: 'other' as never }, 'Muon: adjustLr'],
    [{ adamwLrScale: -1 }, 'Muon: adamwLrScale'],
    [{ betas: [1, 0] }, 'Muon: betas'],
    [{ isMatrix: true as never }, 'Muon: isMatrix'],
    [{ moment: 1 } as never, 'did you mean momentum'],
  ];
  for (const [options, message] of refused) {
    expect(() => new Muon(all, options)).toThrow(OptionError);
    expect(() => new Muon(all, options)).toThrow(message);
  }
  const optimizer = new Muon(all);
  expect(() => {
    all.get('w')!.grad = zeros([5, 3]);
  }).toThrow('grad: expected a tensor of shape [3, 5], got [5, 3]');
  expect(optimizer.stepCount).toBe(0);
});

test('with too little memory a step changes everything or nothing', async () => {
  const random = new TestRandom(3);
  // A small matrix before the large one, and a parameter of AdamW's.
  const shapes = [[8, 8], [96, 96], [2, 48, 64], [16, 3], [64]];
  const parameters = shapes.map((shape) => parameter(tensor(random.array(shape.reduce((a, b) => a * b)), shape)));
  const optimizer = new Muon(parameters);
  const state = () => [...parameters, ...optimizer.stateDict().tensors.values()].map((x) => x.toArray());
  for (const one of parameters) one.grad = tensor(random.array(one.size), one.shape);
  let refused = 0;
  const { limit } = memoryStats();
  const before = state();
  const allocated = await allocatedWithoutGarbage();
  try {
    for (let spare = 0; optimizer.stepCount === 0; spare += 50_000) {
      emptyCache(); // blocks that are kept count as memory that is had already
      setMemoryLimit(allocated + spare);
      try {
        optimizer.step({ lr: 0.01 });
      } catch (error) {
        expect(error).toBeInstanceOf(OutOfMemoryError);
        expect(state()).toEqual(before);
        refused++;
      }
    }
  } finally {
    setMemoryLimit(limit);
  }
  expect(refused).toBeGreaterThan(3);
  optimizer.dispose();
}, 60_000);
