import {
  type Activation,
  blockDenseLinear,
  blockShuffleLinear,
  feedForward,
  linear,
  lowRankLinear,
  mergeFactors,
  ShapeError,
  structuredLinear,
  type Tensor,
  tensor,
} from '../../lib';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { checkOp, type Nd } from '../support/check_op';
import { activate, blocks, dense, plus, plusBias, structured } from '../support/linear';
import { smallShapes } from '../support/structures';

const activations: Activation[] = ['none', 'gelu', 'silu', 'relu', 'swiglu'];

/** [tokens, v, u]; the widths include primes, ones, and blocks that no vector width divides. */
const factorShapes: [number, number[], number[]][] = [
  [1, [1, 1, 1], [1, 2, 1]],
  [3, [1, 5, 7], [1, 6, 5]],
  [2, [2, 3, 5], [1, 4, 6]],
  [5, [2, 4, 3], [2, 3, 4]],
  [4, [3, 4, 2], [2, 5, 6]],
  [9, [2, 9, 4], [3, 2, 6]],
  [2, [4, 3, 2], [6, 1, 2]],
];

describe.each(activations)('activation %s', (activation) => {
  test.each(factorShapes)('%i tokens, v %j, u %j, with bias', (tokens, v, u) => {
    const [inFeatures, outFeatures] = [v[0]! * v[2]!, u[0]! * u[1]!];
    if (activation === 'swiglu' && outFeatures % 2 !== 0) return;
    checkOp(
      (x, vt, ut, bias) => structuredLinear(x, { v: vt, u: ut, bias }, { activation }),
      (x, vn, un, bias) => activate(plusBias(structured(x, vn, un), bias), activation).data,
      [[tokens, inFeatures], v, u, [outFeatures]],
    );
  });

  test.each([
    [1, 1, 2],
    [2, 7, 6],
    [11, 5, 34],
  ])('dense, %i tokens, %i to %i', (tokens, inFeatures, outFeatures) => {
    checkOp(
      (x, w, b) => linear(x, w, b, { activation }),
      (x, w, b) => activate(plusBias(dense(x, w), b), activation).data,
      [[tokens, inFeatures], [outFeatures, inFeatures], [outFeatures]],
    );
  });
});

test.each([
  [0.25, 0.75],
  [1, 0],
  [0, 1],
  [1, 0.5],
  [2, -1],
])('the guide is mixed in: guideScale %d, factorScale %d', (guideScale, factorScale) => {
  const shapes = [[3, 6], [2, 4, 3], [2, 3, 4], [6, 6], [6]];
  checkOp(
    (x, v, u, weight, bias) =>
      structuredLinear(x, { v, u, bias, guide: { weight, guideScale, factorScale } }, { activation: 'gelu' }),
    (x, v, u, w, bias) => {
      const [s, d] = [structured(x, v, u), dense(x, w)];
      const mixed = { shape: s.shape, data: s.data.map((y, i) => factorScale * y + guideScale * d.data[i]!) };
      return activate(plusBias(mixed, bias), 'gelu').data;
    },
    shapes,
  );
});

/** Sizes at which the packed, threaded paths and their tails are used; gradients against the merged dense layer. */
test.each([
  [37, [1, 48, 100], [1, 96, 48]],
  [200, [4, 48, 48], [4, 192, 48]],
  [70, [2, 33, 50], [3, 41, 22]],
  [16, [8, 24, 12], [8, 96, 24]],
])('large: %i tokens, v %j, u %j', (tokens, v, u) => {
  const [inFeatures, outFeatures] = [v[0]! * v[2]!, u[0]! * u[1]!];
  checkOp(
    (x, vt, ut) => structuredLinear(x, { v: vt, u: ut }),
    (x, vn, un) => structured(x, vn, un).data,
    [[tokens, inFeatures], v, u],
    { gradients: false },
  );
  const merge = (vn: Nd, un: Nd) => {
    const identity = new Float64Array(inFeatures * inFeatures);
    for (let i = 0; i < inFeatures; i++) identity[i * inFeatures + i] = 1;
    const columns = structured({ shape: [inFeatures, inFeatures], data: identity }, blocks(vn), blocks(un));
    return Float64Array.from(
      { length: outFeatures * inFeatures },
      (_, i) => columns.data[(i % inFeatures) * outFeatures + Math.floor(i / inFeatures)]!,
    );
  };
  checkOp(mergeFactors, merge, [v, u], { gradients: false });
});

test('the named structures are the family with their own shapes', () => {
  const twoFactors = (x: Nd, v: Nd, u: Nd) => structured(x, blocks(v), blocks(u)).data;
  checkOp((x, v, u) => lowRankLinear(x, v, u), twoFactors, [
    [10, 7],
    [3, 7],
    [4, 3],
  ]);
  checkOp((x, v, u) => blockDenseLinear(x, v, u), twoFactors, [
    [3, 6],
    [2, 2, 3],
    [5, 4],
  ]);
  checkOp((x, v, u) => blockShuffleLinear(x, v, u), twoFactors, [
    [3, 6],
    [2, 3, 3],
    [2, 4, 3],
  ]);
});

test.each(STRUCTURE_NAMES)('the factors of %s', (structure) => {
  const { v, u } = smallShapes(structure, 12, 18);
  const activation = 'gelu';
  if (v === null)
    return checkOp(
      (x, w) => linear(x, w),
      (x, w) => dense(x, w).data,
      [[5, 12], [...u]],
    );
  checkOp(
    (x, vt, ut) => structuredLinear(x, { v: vt, u: ut }, { activation }),
    (x, vn, un) => activate(structured(x, blocks(vn), blocks(un)), activation).data,
    [[5, 12], [...v], [...u]],
  );
});

test('leading dimensions of x are rows', () => {
  const x = tensor(new Float32Array(30).fill(1), [2, 3, 5]);
  expect(linear(x, tensor(new Float32Array(20).fill(1), [4, 5])).shape).toEqual([2, 3, 4]);
});

test.each<Activation>(['gelu', 'silu', 'relu', 'swiglu'])('feedForward with %s', (activation) => {
  const hidden = activation === 'swiglu' ? 12 : 6;
  const run = (x: Tensor, v1: Tensor, u1: Tensor, b1: Tensor, v2: Tensor, u2: Tensor, b2: Tensor) =>
    feedForward(x, { v: v1, u: u1, bias: b1 }, { v: v2, u: u2, bias: b2 }, activation);
  checkOp(
    run,
    (x, v1, u1, b1, v2, u2, b2) =>
      plusBias(structured(activate(plusBias(structured(x, v1, u1), b1), activation), v2, u2), b2).data,
    [[5, 4], [2, 3, 2], [2, hidden / 2, 3], [hidden], [2, 2, 3], [2, 2, 2], [4]],
  );
});

describe.each(activations)('a residual is added after activation %s', (activation) => {
  test.each([
    [3, [1, 4, 6], [1, 10, 4]],
    [18, [2, 6, 4], [2, 8, 6]],
    [40, [2, 10, 4], [4, 9, 5]],
    [70, [1, 16, 24], [1, 72, 16]],
  ])('%i tokens, v %j, u %j', (tokens, v, u) => {
    const [inFeatures, outFeatures] = [v[0]! * v[2]!, u[0]! * u[1]!];
    const width = activation === 'swiglu' ? outFeatures / 2 : outFeatures;
    checkOp(
      (x, vt, ut, bias, residual) => structuredLinear(x, { v: vt, u: ut, bias }, { activation, residual }),
      (x, vn, un, bias, residual) => plus(activate(plusBias(structured(x, vn, un), bias), activation), residual).data,
      [[tokens, inFeatures], v, u, [outFeatures], [tokens, width]],
      { gradients: tokens < 20 },
    );
  });
});

test.each([3, 45])('feedForward adds a residual, which may be its input: %i tokens', (tokens) => {
  const network = (x: Nd, v1: Nd, u1: Nd, u2: Nd) => dense(activate(structured(x, v1, u1), 'gelu'), u2);
  const shapes = [
    [tokens, 4],
    [2, 3, 2],
    [2, 6, 3],
    [4, 12],
  ];
  const options = { gradients: tokens < 20 };
  checkOp(
    (x, v, u, w, residual) => feedForward(x, { v, u }, { u: w }, 'gelu', { residual }),
    (x, v, u, w, residual) => plus(network(x, v, u, w), residual).data,
    [...shapes, [tokens, 4]],
    options,
  );
  checkOp(
    (x, v, u, w) => feedForward(x, { v, u }, { u: w }, 'gelu', { residual: x }),
    (x, v, u, w) => plus(network(x, v, u, w), x).data,
    shapes,
    options,
  );
});

test('feedForward of a dense and a low-rank layer, without biases', () => {
  checkOp(
    (x, w, v, u) => feedForward(x, { u: w }, { v, u }, 'gelu'),
    (x, w, v, u) => structured(activate(dense(x, w), 'gelu'), blocks(v), blocks(u)).data,
    [
      [3, 4],
      [10, 4],
      [3, 10],
      [4, 3],
    ],
  );
});

test('refuses factors that do not fit, naming them', () => {
  const t = (...shape: number[]) => tensor(new Float32Array(shape.reduce((n, s) => n * s, 1)), shape);
  expect(() => linear(t(2, 3), t(4, 5))).toThrow('linear: x: expected [..., 5], got [2, 3]');
  expect(() => linear(t(2, 3), t(4, 3), t(3))).toThrow('linear: bias: expected [4], got [3]');
  expect(() => blockShuffleLinear(t(2, 6), t(2, 3, 3), t(2, 4, 2))).toThrow(ShapeError);
  expect(() => lowRankLinear(t(2, 6), t(2, 3, 2), t(4, 2))).toThrow('lowRankLinear: v: expected 2 dimensions');
  expect(() => linear(t(1, 3), t(5, 3), null, { activation: 'swiglu' })).toThrow('an even number');
  expect(() => linear(t(2, 3), t(4, 3), null, { residual: t(2, 3) })).toThrow(
    'linear: residual: expected [2, 4], got [2, 3]',
  );
  const ids = tensor(new Int32Array(8), [2, 4]);
  expect(() => linear(t(2, 3), t(4, 3), null, { residual: ids })).toThrow(
    'linear: residual: expected a float32 or bfloat16 tensor',
  );
  // @ts-expect-error what an untyped caller may do
  expect(() => linear(t(2, 3), t(4, 3), null, { residual: 1 })).toThrow('linear: residual: expected a tensor');
  expect(() => feedForward(t(2, 3), { u: t(8, 3) }, { u: t(3, 8) }, 'gelu', { residual: t(3) })).toThrow(
    'feedForward: residual: expected [2, 3], got [3]',
  );
  // @ts-expect-error what an untyped caller may do
  expect(() => linear(t(1, 3), t(5, 3), null, { activation: 'tanh' })).toThrow('expected one of none, gelu');
  expect(() => feedForward(t(1, 3), { u: t(8, 3) }, { u: t(3, 7) }, 'gelu')).toThrow('feedForward: fc2');
});
