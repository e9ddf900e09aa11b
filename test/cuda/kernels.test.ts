/**
 * Kernels of a CUDA device against those of the CPU, at the sizes that test/ops leaves out (those that go by whole packs
 * of 16 bytes, or take several blocks); without a device, that its absence is what a caller is told.
 */
import {
  add,
  argmax,
  availableDevices,
  blockShuffleLinear,
  causalAttention,
  crossEntropy,
  DeviceError,
  type DType,
  embedding,
  emptyCache,
  feedForward,
  type InnerActivation,
  layerNorm,
  matmul,
  max,
  mean,
  memoryStats,
  mul,
  polarFactor,
  rmsNorm,
  setMemoryLimit,
  softmax,
  structuredLinear,
  sum,
  svd,
  synchronize,
  type Tensor,
  tensor,
  tidy,
  transpose,
  zeros,
} from '../../lib';
import { kernels } from '../../lib/kernels';
import type { Activation } from '../../lib/ops/activation';
import { AdamW } from '../../lib/optim';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';

const cuda = availableDevices().includes('cuda');
const on = { device: 'cuda' } as const;

type Op = (...inputs: Tensor[]) => Tensor;

/** Forward and backward of an op on the device, in both of its types, against the CPU on the same rounded inputs. */
function expectAgreement(
  op: Op,
  shapes: readonly (readonly number[])[],
  { gradients = true, types = ['float32', 'bfloat16'] }: { gradients?: boolean; types?: readonly DType[] } = {},
): void {
  const random = new TestRandom(7);
  const inputs = shapes.map((shape) => ({ shape, data: random.array(shape.reduce((a, b) => a * b, 1)) }));
  const run = (device: 'cpu' | 'cuda', dtype: DType, rounded: DType) =>
    tidy(() => {
      const tensors = inputs.map(({ shape, data }) => {
        const values = tensor(data, shape, { dtype: rounded }).toArray();
        return tensor(values, shape, { device, dtype, requiresGrad: gradients });
      });
      const y = op(...tensors);
      if (!gradients) return [y.toArray()];
      y.backward(tensor(new TestRandom(8).array(y.size).map(Math.fround), y.shape, { device, dtype: y.dtype }));
      const found = tensors.map((t) => {
        const values = t.grad!.toArray();
        t.grad!.dispose();
        return values;
      });
      return [y.toArray(), ...found];
    });
  for (const dtype of types) {
    const tolerance = dtype === 'float32' ? 2e-6 : 1e-2;
    const expected = run('cpu', 'float32', dtype);
    run('cuda', dtype, dtype).forEach((values, i) => {
      const error = relativeError(values, expected[i]!);
      expect({ dtype, i, error: error < tolerance || error }).toEqual({ dtype, i, error: true });
    });
  }
}

const withoutCuda = () => {
  const inputs = () => tensor([1, 2]).to('cuda');
  test.each<[string, () => unknown]>([
    ['a forward op', () => softmax(inputs())],
    ['an optimizer', () => new AdamW(new Map([['w', zeros([2], on)]]))],
    ['a decomposition', () => svd(inputs())],
  ])('%s says what is missing', (_, body) => {
    expect(body).toThrow(DeviceError);
    expect(body).toThrow(/device 'cuda' is not (built|available): \w+/);
  });
};

const withCuda = () => {
  afterEach(() => synchronize());

  describe('agrees with the CPU', () => {
    test.each<[string, Op, number[][]]>([
      ['layerNorm of 40 rows', (x, weight, bias) => layerNorm(x!, weight!, bias), [[40, 64], [64], [64]]],
      [
        'layerNorm of rows longer than a block',
        (x, weight, bias) => layerNorm(x!, weight!, bias),
        [[3, 2056], [2056], [2056]],
      ],
      ['rmsNorm', (x, weight) => rmsNorm(x!, weight!), [[35, 72], [72]]],
      ['softmax of a long row', softmax, [[3, 2600]]],
      ['sum of several pieces', (x) => sum(x, { dim: 1 }), [[2, 9000]]],
      ['sum of several pieces of columns', (x) => sum(x, { dim: 0 }), [[600, 40]]],
      ['mean of everything', (x) => mean(x), [[97, 101]]],
      ['max of rows', (x) => max(x, { dim: -1 }), [[5, 64]]],
      ['a bias', add, [[6, 64], [64]]],
      [
        'a factor to a row',
        mul,
        [
          [6, 64],
          [6, 1],
        ],
      ],
      ['transposed matrices', (x) => transpose(x, 1, 2), [[3, 37, 40]]],
      ['attention over several blocks', attention(2, 1, 10000), [[1, 70, 4 * 64]]],
      ['attention with heads of 128', attention(2, 2, 10000), [[1, 66, 6 * 128]]],
      ['attention with heads of 256', attention(1, 1, 0), [[1, 20, 3 * 256]]],
      ['attention with heads of 101', attention(1, 1, 0), [[2, 18, 3 * 101]]],
      ['attention with turned heads of 256', attention(1, 1, 10000), [[1, 17, 3 * 256]]],
      ['attention with groups of heads of 48', attention(4, 2, 100), [[2, 37, 8 * 48]]],
      ['attention with heads of 40, half of which no pack divides', attention(2, 1, 10000), [[1, 67, 4 * 40]]],
      ['attention with heads of 32 over several blocks', attention(3, 1, 10000), [[1, 131, 5 * 32]]],
      ['attention to a single position', attention(2, 2, 10000), [[3, 1, 6 * 32]]],
    ])('%s', (_, op, shapes) => expectAgreement(op, shapes));

    // Sizes at which bfloat16 takes one launch for both factors, with tails in rows and columns.
    test.each<[string, Op, number[][], boolean]>([
      ['two factors', factors('gelu'), [[130, 72], [104, 72], [120, 104], [120]], true],
      [
        'two factors, several tiles',
        factors('none'),
        [
          [8961, 24],
          [200, 24],
          [208, 200],
        ],
        false,
      ],
      [
        'gradients of two factors, several tiles',
        factors('none'),
        [
          [8705, 136],
          [136, 136],
          [16, 136],
        ],
        true,
      ],
      ['two factors whose 4 blocks interleave', factors('gelu'), [[8441, 32], [4, 16, 8], [4, 20, 16], [80]], false],
      ['two factors whose 2 blocks interleave', factors('swiglu'), [[8441, 32], [2, 72, 16], [2, 48, 72], [96]], false],
    ])('%s', (_, op, shapes, gradients) => expectAgreement(op, shapes, { gradients, types: ['bfloat16'] }));

    // With an activation between the factors: splits, tiles and packs of both products and of what lies between them.
    test.each<[string, InnerActivation, number[][]]>([
      [
        'one block',
        'silu',
        [
          [130, 72],
          [104, 72],
          [120, 104],
        ],
      ],
      [
        'one block, sums in several parts',
        'gelu',
        [
          [67, 1100],
          [24, 1100],
          [1040, 24],
        ],
      ],
      [
        '4 blocks that interleave',
        'gelu',
        [
          [150, 64],
          [4, 32, 16],
          [4, 40, 32],
        ],
      ],
      [
        '4 blocks, unaligned',
        'relu',
        [
          [67, 20],
          [4, 12, 5],
          [4, 11, 12],
        ],
      ],
      [
        'unequal blocks, whose ranks do not divide',
        'silu',
        [
          [67, 22],
          [2, 15, 11],
          [3, 25, 10],
        ],
      ],
    ])('activation between the factors: %s', (_, innerActivation, shapes) =>
      expectAgreement((x, v, u) => structuredLinear(x!, { v, u: u!, innerActivation }), shapes),
    );

    // Enough tiles that the columns of all blocks are stored together, with tails in rows and columns.
    test.each<[string, Op, number[][], boolean]>([
      ['columns of 2 blocks', factors('gelu'), [[1100, 16], [2, 8, 8], [2, 1000, 8], [2000]], false],
      [
        'columns of 3 blocks, unaligned',
        factors('silu', true),
        [[33, 12], [3, 5, 4], [3, 5701, 5], [17103], [17103, 12]],
        false,
      ],
      [
        'columns of 5 blocks, too many for large tiles',
        factors('none'),
        [
          [130, 40],
          [5, 8, 8],
          [5, 2296, 8],
        ],
        false,
      ],
      [
        'gradients of 2 blocks',
        factors('none'),
        [
          [48, 16],
          [2, 4288, 8],
          [2, 8, 4288],
        ],
        true,
      ],
      [
        'gradients of 2 blocks, unaligned',
        factors('none'),
        [
          [33, 8],
          [2, 4229, 4],
          [2, 5, 4229],
        ],
        true,
      ],
    ])('%s', (_, op, shapes, gradients) => expectAgreement(op, shapes, { gradients }));
  });

  test('a product of more batches than a grid is high', () => {
    const batches = 65_537;
    const random = new TestRandom(3);
    const [a, b] = [random.array(batches), random.array(batches)];
    const product = (device: 'cpu' | 'cuda') =>
      matmul(tensor(a, [batches, 1, 1], { device }), tensor(b, [batches, 1, 1], { device }), { transposeB: true });
    expect(relativeError(product('cuda').toArray(), product('cpu').toArray())).toBeLessThan(1e-6);
  });

  test('blocks so many that no group of features fits in shared memory', () => {
    const blocks = 2_053;
    const gradients = (device: 'cpu' | 'cuda') => {
      const random = new TestRandom(4);
      const [x, v, u] = [
        [2, blocks],
        [1, blocks, blocks],
        [blocks, 1, 1],
      ].map((shape) =>
        tensor(random.array(shape.reduce((n, size) => n * size, 1)), shape, { device, requiresGrad: true }),
      );
      sum(mul(blockShuffleLinear(x!, v!, u!), x!)).backward();
      return [x!, u!].map((t) => t.grad!.toArray());
    };
    const expected = gradients('cpu');
    gradients('cuda').forEach((gradient, i) => {
      expect(relativeError(gradient, expected[i]!)).toBeLessThan(1e-5);
    });
  });

  // Beside the gradient of a weight, or of the guide, which read the same values; by a pass of their own where both are frozen.
  describe.each([
    ['every weight', { factors: true, guide: true }],
    ['the guide', { factors: false, guide: true }],
    ['nothing', { factors: false, guide: false }],
  ])('gradients of biases beside that of %s', (_, trained) => {
    interface Sizes {
      readonly v?: readonly number[];
      readonly u: readonly number[];
    }
    const product = (shape: readonly number[]) => shape.reduce((n, size) => n * size, 1);
    const featuresOf = ({ u }: Sizes) => product(u.slice(0, -1));

    /** The gradients of the biases of these layers, one after the other, or of a feedforward network. */
    const gradients = (
      device: 'cpu' | 'cuda',
      dtype: DType,
      rounded: DType,
      tokens: number,
      layers: readonly Sizes[],
      activation: Activation,
      factorScale: number,
    ) =>
      tidy(() => {
        const random = new TestRandom(9);
        const draw = (shape: readonly number[], requiresGrad: boolean) => {
          const values = tensor(random.array(product(shape)), shape, { dtype: rounded }).toArray();
          return tensor(values, shape, { device, dtype, requiresGrad });
        };
        const widthOf = ({ v, u }: Sizes) => (v ?? u).at(-1)! * (v?.length === 3 ? v[0]! : 1);
        const weights = layers.map((sizes) => ({
          v: sizes.v && draw(sizes.v, trained.factors),
          u: draw(sizes.u, trained.factors),
          bias: draw([featuresOf(sizes)], true),
          guide: { weight: draw([featuresOf(sizes), widthOf(sizes)], trained.guide), guideScale: 0.5, factorScale },
        }));
        const x = draw([tokens, widthOf(layers[0]!)], false);
        const [first, second] = weights;
        const y = second ? feedForward(x, first!, second, activation) : structuredLinear(x, first!, { activation });
        y.backward(tensor(new TestRandom(8).array(y.size), y.shape, { device, dtype }));
        return weights.map(({ v, u, bias, guide }) => {
          const values = bias.grad!.toArray();
          for (const t of [v, u, bias, guide.weight]) t?.grad?.dispose();
          return values;
        });
      });

    test.each<[string, number, readonly Sizes[], Activation, number]>([
      ['no rows', 0, [{ v: [2, 5, 6], u: [2, 7, 5] }], 'none', 1],
      ['one row', 1, [{ u: [9, 33] }], 'none', 1],
      ['an odd number of rows', 67, [{ v: [22, 65], u: [131, 22] }], 'gelu', 0.75],
      ['factors of no weight', 67, [{ v: [22, 65], u: [131, 22] }], 'silu', 0],
      ['sums in several parts', 521, [{ u: [24, 40] }], 'none', 1],
      ['sums in several parts, several tiles', 259, [{ u: [136, 136] }], 'none', 1],
      ['sums in several parts, unaligned', 259, [{ v: [67, 20], u: [69, 67] }], 'none', 1],
      ['blocks that interleave', 140, [{ v: [4, 24, 8], u: [4, 72, 24] }], 'swiglu', 0.75],
      ['blocks that interleave, unaligned', 67, [{ v: [3, 15, 7], u: [5, 21, 9] }], 'silu', 0.75],
      ['a network', 70, [{ u: [88, 72] }, { v: [16, 88], u: [96, 16] }], 'gelu', 0.75],
      [
        'a network whose blocks stay apart',
        90,
        [
          { v: [3, 6, 4], u: [3, 14, 6] },
          { v: [3, 5, 7], u: [13, 15] },
        ],
        'swiglu',
        0.75,
      ],
      [
        'a network whose blocks stay apart, dense',
        70,
        [{ v: [3, 6, 4], u: [3, 14, 6] }, { u: [10, 42] }],
        'gelu',
        0.75,
      ],
    ])('%s', (_, ...sizes) => {
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const tolerance = dtype === 'float32' ? 2e-6 : 1e-2;
        const expected = gradients('cpu', 'float32', dtype, ...sizes);
        const actual = gradients('cuda', dtype, dtype, ...sizes);
        const errors = actual.map((values, i) => relativeError(values, expected[i]!));
        expect({ dtype, errors: errors.filter((error) => !(error < tolerance)) }).toEqual({ dtype, errors: [] });
        expect(gradients('cuda', dtype, dtype, ...sizes)).toEqual(actual);
      }
    });
  });

  test('heads wider than 256 are refused', () =>
    expect(() => causalAttention(zeros([1, 1, 3 * 258], on), { heads: 1 })).toThrow(/above 256/));

  test('attention and its gradient are the same bits every time', () => {
    const data = new TestRandom(1).array(70 * 4 * 32);
    const run = () =>
      tidy(() => {
        const qkv = tensor(data, [1, 70, 128], { ...on, requiresGrad: true });
        const y = causalAttention(qkv, { heads: 2, kvHeads: 1 });
        sum(mul(y, y)).backward();
        const gradient = qkv.grad!.toArray();
        qkv.grad!.dispose();
        return gradient;
      });
    expect(run()).toEqual(run());
  });

  describe('tables of rotary positions', () => {
    beforeEach(() => allocatedWithoutGarbage('cuda'));

    const SIZE = 4;
    const data = new TestRandom(2).array(300 * 3 * SIZE);
    const attend = (seq: number, ropeBase: number, device: 'cpu' | 'cuda' = 'cuda') =>
      tidy(() => {
        const qkv = tensor(data.subarray(0, seq * 3 * SIZE), [1, seq, 3 * SIZE], { device });
        return causalAttention(qkv, { heads: 1, ropeBase }).toArray();
      });
    const held = () => memoryStats('cuda').allocated;

    test('are computed once, and once more for longer texts', () => {
      const before = held();
      const first = attend(9, 777);
      const one = held();
      expect(one - before).toBeGreaterThanOrEqual(9 * SIZE * 4);
      expect(attend(40, 777).subarray(0, first.length)).toEqual(first);
      expect(held()).toBe(one);
      const long = attend(300, 777);
      const two = held();
      expect(two - one).toBeGreaterThanOrEqual(300 * SIZE * 4);
      expect(relativeError(long, attend(300, 777, 'cpu'))).toBeLessThan(2e-6);
      const { limit } = memoryStats('cuda');
      try {
        emptyCache('cuda');
        setMemoryLimit(held() + 1_000_000, 'cuda');
        expect(attend(9, 777)).toEqual(first);
        expect(attend(300, 777)).toEqual(long);
      } finally {
        setMemoryLimit(limit, 'cuda');
      }
      expect(held()).toBe(two);
    });

    test('of more kinds than are kept are computed anew', () => {
      for (let kind = 1; kind <= 33; kind++) {
        expect(relativeError(attend(9, 1000 + kind), attend(9, 1000 + kind, 'cpu'))).toBeLessThan(2e-6);
      }
      const full = held();
      for (const base of [1040, 1041])
        expect(relativeError(attend(9, base), attend(9, base, 'cpu'))).toBeLessThan(2e-6);
      expect(held()).toBe(full);
    });
  });

  test('argmax takes the first of equals, and NaN for the largest', () => {
    const x = tensor([1, 3, 3, 0, 2, Number.NaN, 5, Number.NaN, 7, 7, 7, 7], [3, 4], on);
    expect(Array.from(argmax(x).toArray())).toEqual([1, 1, 0]);
    expect(Array.from(argmax(x, 0).toArray())).toEqual([2, 1, 2, 1]);
    const long = new Float32Array(700);
    long[555] = 1;
    expect(Array.from(argmax(tensor(long, [700], on)).toArray())).toEqual([555]);
  });

  test.each([5, 300, 70_000])('the gradient of a table of %i rows adds in order', (rows) => {
    const random = new TestRandom(rows);
    const ids = Int32Array.from({ length: 900 }, (_, i) => (i % 3 === 0 ? 2 : random.int(0, rows - 1)));
    const dy = random.array(ids.length * 4);
    const gradient = (device: 'cpu' | 'cuda') =>
      tidy(() => {
        const table = zeros([rows, 4], { device });
        kernels.embedding_backward({
          dy: tensor(dy, undefined, { device }).handle,
          ids: tensor(ids, undefined, { device }).handle,
          dtable: table,
          n: ids.length,
          rows,
          features: 4,
        });
        return table.toArray();
      });
    expect(gradient('cuda')).toEqual(gradient('cpu'));
  });

  test('bad ids and targets are found at the next synchronisation, once', () => {
    const ids = (...values: number[]) => tensor(Int32Array.from(values), undefined, on);
    embedding(ids(0, 3), zeros([3, 2], on));
    expect(() => synchronize()).toThrow(expect.objectContaining({ code: 'ERR_RANGE' }));
    synchronize();
    const loss = crossEntropy(zeros([2, 4], on), ids(1, 4));
    expect(() => loss.item()).toThrow(/target that is not a class/);
    synchronize();
  });

  test('random numbers are those of the CPU', () => {
    const seed = { seed_low: 12345, seed_high: 678, offset: 2 ** 33 };
    const draw = (device: 'cpu' | 'cuda', kind: 'random_uniform' | 'random_normal', ...range: [number, number]) =>
      tidy(() => {
        const y = zeros([203], { device });
        const [low, high] = range;
        if (kind === 'random_uniform') kernels.random_uniform({ ...seed, y, low, high });
        else kernels.random_normal({ ...seed, y, mean: low, std: high });
        return y.toArray();
      });
    expect(draw('cuda', 'random_uniform', -0.3, 1.7)).toEqual(draw('cpu', 'random_uniform', -0.3, 1.7));
    const [normal, expected] = [draw('cuda', 'random_normal', 0.5, 2), draw('cpu', 'random_normal', 0.5, 2)];
    normal.forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(2 ** -23 * Math.abs(expected[i]!));
    });
  });

  describe('AdamW', () => {
    const sizes = [1, 7, 64, 9001];
    /** Parameters after three clipped steps, their masters where they have some, and the last norm. */
    const train = (device: 'cpu' | 'cuda', dtype: DType, rounded: DType, spoil = Number.NaN) =>
      tidy(() => {
        const random = new TestRandom(3);
        const values = () =>
          tidy(() => sizes.map((size) => tensor(random.array(size), [size], { dtype: rounded }).toArray()));
        const placed = values().map((data) => tensor(data, [data.length], { device, dtype, requiresGrad: true }));
        const optimizer = new AdamW(new Map(placed.map((p, i) => [`p${i}`, p])), { lr: 0.05 });
        let gradNorm = 0;
        for (let step = 0; step < 3; step++) {
          values().forEach((data, i) => {
            if (step === 2 && i === 1 && !Number.isNaN(spoil)) data[3] = spoil;
            placed[i]!.grad = tensor(data, [data.length], { device, dtype });
          });
          ({ gradNorm } = optimizer.step({ maxGradNorm: 0.5 }));
          optimizer.zeroGrad();
        }
        const state = optimizer.stateDict();
        const masters = placed.map((p, i) => (state.tensors.get(`p${i}.master`) ?? p).toArray());
        const result = { gradNorm, values: placed.map((p) => p.toArray()), masters, stepCount: state.stepCount };
        optimizer.dispose();
        return result;
      });

    test('steps as on the CPU', () => {
      const [actual, expected] = [train('cuda', 'float32', 'float32'), train('cpu', 'float32', 'float32')];
      actual.values.forEach((values, i) => {
        expect(relativeError(values, expected.values[i]!)).toBeLessThan(1e-6);
      });
      expect(Math.abs(actual.gradNorm / expected.gradNorm - 1)).toBeLessThan(1e-7);
    });

    test('keeps float32 masters of bfloat16 parameters', () => {
      const [actual, expected] = [train('cuda', 'bfloat16', 'bfloat16'), train('cpu', 'float32', 'bfloat16')];
      actual.masters.forEach((values, i) => {
        expect(relativeError(values, expected.values[i]!)).toBeLessThan(1e-6);
        expect(actual.values[i]).toEqual(tensor(values, [values.length], { dtype: 'bfloat16' }).toArray());
      });
    });

    test('does nothing where a gradient is not finite', () => {
      const [spoilt, before] = [
        train('cuda', 'float32', 'float32', Number.POSITIVE_INFINITY),
        train('cpu', 'float32', 'float32', Number.POSITIVE_INFINITY),
      ];
      expect([spoilt.gradNorm, spoilt.stepCount]).toEqual([Number.POSITIVE_INFINITY, 2]);
      spoilt.values.forEach((values, i) => {
        expect(relativeError(values, before.values[i]!)).toBeLessThan(1e-6);
      });
    });
  });

  describe("decompositions are the host's, bit for bit", () => {
    const random = (...shape: number[]) =>
      tensor(new TestRandom(shape.length).array(shape.reduce((a, b) => a * b)), shape);

    test.each<[string, Tensor, number | undefined]>([
      ['a number', random(1, 1), undefined],
      ['a wide matrix', random(5, 9), undefined],
      ['a tall matrix', random(12, 7), undefined],
      ['the largest triples of a batch', random(3, 4, 5), 2],
      ['no matrix', zeros([0, 3, 2]), undefined],
      ['a matrix of a layer', random(96, 384), undefined],
    ])('%s', (_, a, rank) => {
      const there = a.to('cuda');
      for (const name of ['u', 's', 'vt'] as const) {
        const [expected, found] = [svd(a, rank)[name], svd(there, rank)[name]];
        expect([found.device, found.shape, found.toArray()]).toEqual(['cuda', expected.shape, expected.toArray()]);
      }
      expect(polarFactor(there).toArray()).toEqual(polarFactor(a).toArray());
    });

    test('values that are not finite are refused at once', () => {
      const a = tensor([1, Number.NaN, 0, 1], [2, 2], on);
      for (const decompose of [() => svd(a), () => polarFactor(a)])
        expect(decompose).toThrow(
          expect.objectContaining({ code: 'ERR_RANGE', message: expect.stringMatching(/not finite/) }),
        );
      synchronize();
    });
  });
};

/** x, v, u, then a bias, then with `guided` the dense weight beside them. */
function factors(activation: Activation, guided = false): Op {
  return (x, v, u, bias, weight) =>
    structuredLinear(
      x!,
      { v, u: u!, bias, guide: guided ? { weight: weight!, guideScale: 0.25, factorScale: 0.75 } : null },
      { activation },
    );
}

function attention(heads: number, kvHeads: number, ropeBase: number): Op {
  return (qkv) => causalAttention(qkv, { heads, kvHeads, ropeBase });
}

if (cuda) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
