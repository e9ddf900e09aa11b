/** An activation between the two factors of a layer: u·σ(v x). */
import {
  type Activation,
  blockDenseLinear,
  blockShuffleLinear,
  feedForward,
  type InnerActivation,
  linear,
  lowRankLinear,
  OptionError,
  structuredLinear,
  type Tensor,
  tensor,
} from '../../lib';
import { checkOp, type Nd } from '../support/check_op';
import { activate, blocks, dense, plus, plusBias, structured } from '../support/linear';
import { STRUCTURED, smallShapes } from '../support/structures';

const INNER: readonly InnerActivation[] = ['none', 'gelu', 'silu', 'relu'];

/** [tokens, v, u]: few rows and many, one block and several, and blocks that no vector width divides. */
const SHAPES: readonly (readonly [number, number[], number[]])[] = [
  [1, [1, 1, 1], [1, 2, 1]],
  [3, [1, 5, 7], [1, 6, 5]],
  [2, [2, 3, 5], [1, 4, 6]],
  [5, [2, 4, 3], [2, 3, 4]],
  [4, [3, 4, 2], [2, 5, 6]],
  [15, [2, 9, 4], [3, 2, 6]],
  [13, [4, 3, 2], [6, 1, 2]],
];

/** Sizes of the packed and threaded paths, of whole packs of 16 bytes, and of tails. */
const LARGE: readonly (readonly [number, number[], number[]])[] = [
  [37, [1, 48, 100], [1, 96, 48]],
  [70, [2, 33, 50], [3, 41, 22]],
  [16, [8, 24, 12], [8, 96, 24]],
  [9, [4, 16, 48], [4, 64, 16]],
];

const featuresOf = (v: readonly number[], u: readonly number[]) => [v[0]! * v[2]!, u[0]! * u[1]!] as const;

describe.each(INNER)('%s between the factors', (innerActivation) => {
  test.each(SHAPES)('%i tokens, v %j, u %j', (tokens, v, u) => {
    const [inFeatures, outFeatures] = featuresOf(v, u);
    checkOp(
      (x, vt, ut, bias) => structuredLinear(x, { v: vt, u: ut, bias, innerActivation }),
      (x, vn, un, bias) => plusBias(structured(x, vn, un, innerActivation), bias).data,
      [[tokens, inFeatures], v, u, [outFeatures]],
    );
  });

  test.each(LARGE)('large: %i tokens, v %j, u %j', (tokens, v, u) => {
    const [inFeatures] = featuresOf(v, u);
    checkOp(
      (x, vt, ut) => structuredLinear(x, { v: vt, u: ut, innerActivation }),
      (x, vn, un) => structured(x, vn, un, innerActivation).data,
      [[tokens, inFeatures], v, u],
      { gradients: false },
    );
  });

  const outer: readonly Activation[] = ['none', 'gelu', 'swiglu'];
  test.each(STRUCTURED.flatMap((structure) => outer.map((activation) => [structure, activation] as const)))(
    '%s, %s after the layer, with and without guide, bias and residual',
    (structure, activation) => {
      const { v, u } = smallShapes(structure, 6, 12);
      const [guideScale, factorScale] = [0.25, 0.75];
      const shapes = [[4, 6], [...v!], [...u]];
      checkOp(
        (x, vt, ut) => structuredLinear(x, { v: vt, u: ut, innerActivation }, { activation }),
        (x, vn, un) => activate(structured(x, blocks(vn), blocks(un), innerActivation), activation).data,
        shapes,
      );
      checkOp(
        (x, vt, ut, bias, weight, residual) =>
          structuredLinear(
            x,
            { v: vt, u: ut, bias, guide: { weight, guideScale, factorScale }, innerActivation },
            { activation, residual },
          ),
        (x, vn, un, bias, w, residual) => {
          const [s, d] = [structured(x, blocks(vn), blocks(un), innerActivation), dense(x, w)];
          const mixed: Nd = { shape: s.shape, data: s.data.map((y, i) => factorScale * y + guideScale * d.data[i]!) };
          return plus(activate(plusBias(mixed, bias), activation), residual).data;
        },
        [...shapes, [12], [12, 6], [4, activation === 'swiglu' ? 6 : 12]],
      );
    },
  );

  // The first layer's results stay in blocks on CUDA where there are tokens enough.
  test.each([3, 40])('a network: %i tokens', (tokens) => {
    checkOp(
      (x: Tensor, v1: Tensor, u1: Tensor, b1: Tensor, v2: Tensor, u2: Tensor) =>
        feedForward(x, { v: v1, u: u1, bias: b1, innerActivation }, { v: v2, u: u2, innerActivation }, 'gelu'),
      (x, v1, u1, b1, v2, u2) =>
        structured(activate(plusBias(structured(x, v1, u1, innerActivation), b1), 'gelu'), v2, u2, innerActivation)
          .data,
      [[tokens, 4], [2, 3, 2], [2, 3, 3], [6], [3, 2, 2], [2, 2, 3]],
      // One of so many values is so near to relu's corner that TF32 puts it on the other side.
      { gradients: tokens < 20 || innerActivation !== 'relu' },
    );
  });
});

test('without factors of any weight only the guide counts', () => {
  const shapes = [
    [3, 6],
    [2, 4, 3],
    [2, 3, 4],
    [6, 6],
  ];
  checkOp(
    (x, v, u, weight) =>
      structuredLinear(x, { v, u, guide: { weight, guideScale: 1, factorScale: 0 }, innerActivation: 'silu' }),
    (x, _v, _u, w) => dense(x, w).data,
    shapes,
  );
});

test('the named structures have it as an option', () => {
  const innerActivation = 'relu';
  const reference = (x: Nd, v: Nd, u: Nd) => structured(x, blocks(v), blocks(u), innerActivation).data;
  const low = [
    [5, 7],
    [3, 7],
    [4, 3],
  ];
  checkOp((x, v, u) => lowRankLinear(x, v, u, null, { innerActivation }), reference, low);
  checkOp((x, v, u) => blockDenseLinear(x, v, u, null, { innerActivation }), reference, [
    [3, 6],
    [2, 2, 3],
    [5, 4],
  ]);
  checkOp((x, v, u) => blockShuffleLinear(x, v, u, null, { innerActivation }), reference, [
    [3, 6],
    [2, 3, 3],
    [2, 4, 3],
  ]);
});

test('what it cannot be is refused by name', () => {
  const t = (...shape: number[]) => tensor(new Float32Array(shape.reduce((n, s) => n * s, 1)), shape);
  const refusal = (call: () => unknown) => {
    expect(call).toThrow(OptionError);
    return expect(call);
  };
  refusal(() => structuredLinear(t(2, 3), { u: t(4, 3), innerActivation: 'silu' })).toThrow(
    "structuredLinear: innerActivation: expected none for dense, got 'silu'",
  );
  const swiglu = { innerActivation: 'swiglu' as 'silu' };
  refusal(() => lowRankLinear(t(2, 3), t(2, 3), t(4, 2), null, swiglu)).toThrow(
    "lowRankLinear: innerActivation: expected one of none, gelu, silu, relu, got 'swiglu'",
  );
  // @ts-expect-error a dense layer has no such option
  refusal(() => linear(t(2, 3), t(4, 3), null, { innerActivation: 'silu' })).toThrow(
    'innerActivation: unknown option of linear',
  );
  refusal(() => feedForward(t(2, 3), { u: t(4, 3) }, { u: t(3, 4), innerActivation: 'gelu' }, 'gelu')).toThrow(
    'feedForward: fc2: innerActivation: expected none for dense',
  );
});
