import {
  DisposedError,
  Generator,
  linear,
  noGrad,
  OptionError,
  ShapeError,
  StateDictError,
  svd,
  tensor,
} from '../../lib';
import {
  BlockDenseLinear,
  BlockShuffleLinear,
  createLinear,
  Linear,
  LowRankLinear,
  STRUCTURE_NAMES,
  type Structure,
} from '../../lib/nn';
import { relativeError } from '../support/check_op';
import { TestRandom } from '../support/random';
import { SMALL, STRUCTURED } from '../support/structures';

const layerOf = (structure: Structure, extra: object = {}) =>
  createLinear(structure, { inFeatures: 12, outFeatures: 9, ...SMALL[structure], ...extra });

describe.each(STRUCTURE_NAMES)('%s', (structure) => {
  test('merge is the matrix of the layer', () => {
    const layer = layerOf(structure);
    layer.bias!.data.set(new TestRandom(2).array(9));
    const x = tensor(new TestRandom(1).array(4 * 12), [4, 12]);
    const [y, merged] = noGrad(() => [layer.forward(x), linear(x, layer.merge(), layer.bias)]);
    expect(relativeError(y.data, merged.data)).toBeLessThan(1e-5);
    expect(layer.merge().shape).toEqual([9, 12]);
  });

  test('a state dict goes from one layer to another', () => {
    const [from, to] = [layerOf(structure, { generator: new Generator(1) }), layerOf(structure)];
    const x = tensor(new TestRandom(1).array(24), [2, 12]);
    expect(noGrad(() => to.forward(x)).toArray()).not.toEqual(noGrad(() => from.forward(x)).toArray());
    to.loadStateDict(from.stateDict());
    expect(noGrad(() => to.forward(x)).toArray()).toEqual(noGrad(() => from.forward(x)).toArray());
  });

  test('equal seeds give equal weights', () => {
    const values = () => layerOf(structure, { generator: new Generator(7) }).u.toArray();
    expect(values()).toEqual(values());
  });

  test('without a bias there is none', () => {
    const layer = layerOf(structure, { bias: false });
    expect([...layer.namedParameters().keys()]).not.toContain('bias');
    expect(layer.forward(tensor(new Float32Array(12), [1, 12])).shape).toEqual([1, 9]);
  });

  test('describes what it costs', () => {
    const layer = layerOf(structure);
    const { parameters, ratio } = layer.describe();
    expect(parameters).toBe(layer.numParameters() - 9);
    expect(ratio).toBeCloseTo(parameters / 108);
    expect(layer.flopsPerToken).toBe(2 * parameters);
    expect(layer.describe()).toMatchObject(SMALL[structure]);
  });

  if (structure !== 'dense')
    test('says why a ratio chose the sizes', () => {
      const layer = createLinear(structure, { inFeatures: 64, outFeatures: 96, ratio: 0.4, init: 'normal' });
      expect(layer.describe()).toEqual({
        ...layer.sizes,
        parameters: layer.numParameters() - 96,
        ratio: (layer.numParameters() - 96) / (64 * 96),
        why: expect.stringContaining('nearest to 0.4 among'),
      });
    });
});

describe('initial values', () => {
  const options = { inFeatures: 96, outFeatures: 160 };
  const std = (values: ArrayLike<number>) =>
    Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0) / values.length);

  test('normal has a standard deviation of 0.02, xavier of 1/√fan_in', () => {
    expect(std(new Linear(options).weight.data)).toBeCloseTo(0.02, 3);
    const { v, u } = new LowRankLinear({ ...options, rank: 40, init: 'xavier' });
    expect(std(v.data) * Math.sqrt(96)).toBeCloseTo(1, 1);
    expect(std(u.data) * Math.sqrt(40)).toBeCloseTo(1, 1);
  });

  test('svd gives balanced factors of a dense draw: vvᵀ = uᵀu = Σ, descending', () => {
    const { v, u } = new LowRankLinear({ ...options, rank: 16 });
    const gram = (at: (i: number, k: number) => number, length: number) =>
      Array.from({ length: 16 }, (_, i) =>
        Array.from({ length: 16 }, (_, j) =>
          Array.from({ length }, (_, k) => at(i, k) * at(j, k)).reduce((sum, x) => sum + x, 0),
        ),
      );
    const left = gram((i, k) => v.data[i * 96 + k]!, 96);
    const right = gram((i, k) => u.data[k * 16 + i]!, 160);
    for (let i = 0; i < 16; i++)
      for (let j = 0; j < 16; j++) {
        expect(left[i]![j]! - right[i]![j]!).toBeCloseTo(0, 5);
        if (i !== j) expect(left[i]![j]!).toBeCloseTo(0, 5);
      }
    const sigma = left.map((row, i) => row[i]!);
    expect(sigma).toEqual([...sigma].sort((a, b) => b - a));
    // The largest singular value of such a matrix is near 0.02·(√96 + √160).
    expect(sigma[0]! / (0.02 * (Math.sqrt(96) + Math.sqrt(160)))).toBeCloseTo(1, 1);
  });

  test('svd gives the best approximation of its rank of the dense draw', () => {
    const rank = 16;
    const layer = new LowRankLinear({ ...options, rank, generator: new Generator(5) });
    const drawn = new Generator(5).normal([160, 96], 0, 0.02);
    const merged = layer.merge().data;
    const residual = Array.from(drawn.data, (x, i) => (x - merged[i]!) ** 2).reduce((sum, square) => sum + square, 0);
    // Eckart and Young: no matrix of this rank is nearer than the sum of the squared singular values that were cut.
    const least = Array.from(svd(drawn).s.data.slice(rank)).reduce((sum, sigma) => sum + sigma * sigma, 0);
    expect(residual / least).toBeCloseTo(1, 5);
  });

  test.each([
    ['blockdense', { rank: 24, nblocks: 4 }],
    ['blockshuffle', { nblocks: 4 }],
  ] as const)('ortho makes every block of %s orthonormal', (structure, extra) => {
    const layer = createLinear(structure, { ...options, ...extra });
    for (const factor of [layer.v!, layer.u]) {
      const [rows, columns] = factor.shape.slice(-2) as [number, number];
      const short = Math.min(rows, columns);
      for (let block = 0; block < factor.size; block += rows * columns) {
        const at = (i: number, k: number) =>
          factor.data[block + (rows <= columns ? i * columns + k : k * columns + i)]!;
        for (let i = 0; i < short; i++)
          for (let j = 0; j <= i; j++) {
            let dot = 0;
            for (let k = 0; k < Math.max(rows, columns); k++) dot += at(i, k) * at(j, k);
            expect(dot).toBeCloseTo(i === j ? 1 : 0, 5);
          }
      }
    }
  });
});

describe('bad sizes are refused by name', () => {
  test.each<[string, () => unknown, string]>([
    [
      'rank',
      () => new LowRankLinear({ inFeatures: 8, outFeatures: 8, rank: 9 }),
      'LowRankLinear: rank: expected at most 8',
    ],
    ['NaN', () => new LowRankLinear({ inFeatures: 8, outFeatures: 8, rank: Number.NaN }), 'got NaN'],
    ['both', () => new LowRankLinear({ inFeatures: 8, outFeatures: 8, rank: 4, ratio: 0.5 }), 'either ratio or rank'],
    ['neither', () => new LowRankLinear({ inFeatures: 8, outFeatures: 8 }), 'either ratio or rank'],
    ['ratio', () => new LowRankLinear({ inFeatures: 8, outFeatures: 8, ratio: 1.5 }), 'a number from'],
    [
      'blocks',
      () => new BlockShuffleLinear({ inFeatures: 8, outFeatures: 9, nblocks: 4 }),
      'a divisor of outFeatures (9) and rank (8)',
    ],
    ['blocks', () => new BlockDenseLinear({ inFeatures: 8, outFeatures: 9, nblocks: 4, rank: 6 }), 'rank (6), got 4'],
    [
      'coprime',
      () => new BlockShuffleLinear({ inFeatures: 13, outFeatures: 17, ratio: 0.5 }),
      'widths at which blockshuffle has sizes within dense (they are 13 and 17)',
    ],
    ['features', () => new Linear({ inFeatures: 0, outFeatures: 9 }), 'Linear: inFeatures'],
  ])('%s', (_, build, message) => {
    expect(build).toThrow(OptionError);
    expect(build).toThrow(message);
  });

  test('state dicts that do not belong change nothing', () => {
    const layer = new Linear({ inFeatures: 2, outFeatures: 2 });
    const before = layer.weight.toArray();
    expect(() =>
      layer.loadStateDict(
        new Map([
          [
            'weight',
            tensor([
              [1, 2],
              [3, 4],
            ]),
          ],
          ['x', tensor(1)],
        ]),
      ),
    ).toThrow(StateDictError);
    expect(() =>
      layer.loadStateDict(
        new Map([
          [
            'weight',
            tensor([
              [1, 2],
              [3, 4],
            ]),
          ],
          ['bias', tensor([1, 2, 3])],
        ]),
      ),
    ).toThrow(ShapeError);
    const disposed = tensor([1, 2]);
    disposed.dispose();
    const state = new Map([
      ['weight', tensor(new Float32Array(4), [2, 2])],
      ['bias', disposed],
    ]);
    expect(() => layer.loadStateDict(state)).toThrow(DisposedError);
    expect(layer.weight.toArray()).toEqual(before);
  });
});

test.each(STRUCTURED)('%s keeps training and evaluation the same', (structure) => {
  const layer = layerOf(structure);
  const x = tensor(new TestRandom(1).array(12), [1, 12]);
  expect(layer.eval().forward(x).toArray()).toEqual(layer.train().forward(x).toArray());
});
