/** Every op in every element type on every device: the right value, or a refusal that names the operand. Never a third thing. */
import * as lib from '../../lib';
import { type Device, type DType, DTypeError, type Tensor, tensor, tidy } from '../../lib';
import { DTYPE_NAMES } from '../../lib/dtype';
import * as ops from '../../lib/ops';
import { OPERAND_DTYPES, type OperandKind } from '../../lib/ops/check';
import { relativeError } from '../support/check_op';

/** Makes an operand: of the element type in question, or of int32 where an op wants ids. */
interface Operands {
  x(...shape: number[]): Tensor;
  ids(...shape: number[]): Tensor;
}

interface Row {
  readonly kind: OperandKind;
  readonly call: (operands: Operands) => Tensor;
  /** Element type of the result where it is not that of the operands. */
  readonly result?: DType;
  /** Values of the operands are in 0 .. 1 instead of -1 .. 1. */
  readonly positive?: boolean;
}

const real = (call: Row['call'], more: Partial<Row> = {}): Row => ({ kind: 'real', call, ...more });
const any = (call: Row['call']): Row => ({ kind: 'any', call });
const unary = (op: (a: Tensor) => Tensor, more?: Partial<Row>) => real(({ x }) => op(x(3, 5)), more);
const binary = (op: (a: Tensor, b: Tensor) => Tensor, more?: Partial<Row>) => real(({ x }) => op(x(3, 5), x(5)), more);
/** Rows by the names of the ops. */
const each = <Op extends { readonly name: string }>(list: readonly Op[], row: (op: Op) => Row): Record<string, Row> =>
  Object.fromEntries(list.map((op) => [op.name, row(op)]));

const TABLE: Readonly<Record<string, Row>> = {
  ...each([lib.neg, lib.exp, lib.tanh, lib.sigmoid, lib.gelu, lib.silu, lib.relu, lib.square, lib.abs], (op) =>
    unary(op),
  ),
  ...each([lib.sin, lib.cos], (op) => unary(op)),
  ...each([lib.log, lib.sqrt, lib.rsqrt, lib.reciprocal], (op) => unary(op, { positive: true })),
  scale: unary((a) => lib.scale(a, 3)),
  addScalar: unary((a) => lib.addScalar(a, 3)),
  powScalar: unary((a) => lib.powScalar(a, 1.5), { positive: true }),
  clampMin: unary((a) => lib.clampMin(a, 0.1)),
  clampMax: unary((a) => lib.clampMax(a, 0.1)),
  ...each([lib.add, lib.sub, lib.mul, lib.maximum, lib.minimum, lib.greater, lib.equal], (op) => binary(op)),
  div: binary(lib.div, { positive: true }),
  pow: binary(lib.pow, { positive: true }),
  sum: unary((a) => lib.sum(a, { dim: 0 })),
  mean: unary((a) => lib.mean(a)),
  max: unary((a) => lib.max(a, { dim: 1 })),
  argmax: unary((a) => lib.argmax(a), { result: 'int32' }),
  softmax: unary(lib.softmax),
  logSoftmax: unary(lib.logSoftmax),
  reshape: any(({ x }) => lib.reshape(x(3, 4), [2, -1])),
  permute: any(({ x }) => lib.permute(x(3, 5, 2), [2, 0, 1])),
  transpose: any(({ x }) => lib.transpose(x(3, 5))),
  slice: any(({ x }) => lib.slice(x(5, 3), 0, 1, 4)),
  concat: any(({ x }) => lib.concat([x(2, 3), x(2, 5)], 1)),
  broadcastTo: real(({ x }) => lib.broadcastTo(x(3, 1), [2, 3, 5])),
  matmul: real(({ x }) => lib.matmul(x(3, 5), x(5, 7))),
  linear: real(({ x }) => lib.linear(x(3, 8), x(5, 8), x(5), { activation: 'gelu' })),
  lowRankLinear: real(({ x }) => lib.lowRankLinear(x(3, 8), x(2, 8), x(5, 2))),
  blockDenseLinear: real(({ x }) => lib.blockDenseLinear(x(3, 8), x(2, 2, 4), x(5, 4))),
  blockShuffleLinear: real(({ x }) => lib.blockShuffleLinear(x(3, 8), x(2, 4, 4), x(2, 4, 4))),
  structuredLinear: real(({ x }) => lib.structuredLinear(x(3, 8), { u: x(5, 8) })),
  mergeFactors: real(({ x }) => lib.mergeFactors(x(2, 8), x(5, 2))),
  feedForward: real(({ x }) => lib.feedForward(x(3, 8), { u: x(16, 8) }, { u: x(8, 16) }, 'gelu')),
  causalAttention: real(({ x }) => lib.causalAttention(x(1, 5, 24), { heads: 2 })),
  layerNorm: real(({ x }) => lib.layerNorm(x(3, 8), x(8), x(8))),
  rmsNorm: real(({ x }) => lib.rmsNorm(x(3, 8), x(8))),
  embedding: real(({ x, ids }) => lib.embedding(ids(4), x(3, 5))),
  crossEntropy: real(({ x, ids }) => lib.crossEntropy(x(4, 3), ids(4)), { result: 'float32' }),
  linearCrossEntropy: real(({ x, ids }) => lib.linearCrossEntropy(x(4, 8), x(3, 8), ids(4)), { result: 'float32' }),
  svd: { kind: 'float32', call: ({ x }) => lib.svd(x(5, 3)).s },
  polarFactor: { kind: 'float32', call: ({ x }) => lib.polarFactor(x(5, 3)) },
};

/** Relative errors that the element type allows. */
function toleranceOf(dtype: DType, device: Device): number {
  if (dtype === 'bfloat16') return 2e-2;
  if (dtype === 'int32') return 1e-9;
  return device !== 'cpu' && lib.getCudaTf32() ? 1e-3 : 1e-5;
}

/** Small numbers that every element type holds exactly: sixteenths, or whole ones. */
function valuesOf(size: number, dtype: DType, positive: boolean, seed: number): number[] {
  return Array.from({ length: size }, (_, i) => {
    const step = (i * 37 + seed * 11) % 31;
    const value = positive ? step + 1 : step - 15;
    return dtype === 'int32' ? value : value / 16;
  });
}

function run(row: Row, device: Device, dtype: DType, source: DType = dtype) {
  let made = 0;
  const leaves: Tensor[] = [];
  const x = (...shape: number[]) => {
    const size = shape.reduce((n, s) => n * s, 1);
    const t = tensor(valuesOf(size, source, row.positive ?? false, made++), shape, { dtype, device });
    if (dtype !== 'int32') t.requiresGrad = true;
    leaves.push(t);
    return t;
  };
  const ids = (...shape: number[]) =>
    tensor(
      Int32Array.from({ length: shape[0]! }, (_, i) => i % 3),
      shape,
      { device },
    );
  const y = row.call({ x, ids });
  const values = y.toArray();
  const gradients: (ArrayLike<number> | null)[] = [];
  if (y.requiresGrad) {
    const dy = Array.from({ length: y.size }, (_, i) => ((i * 7) % 5) - 1);
    y.backward(tensor(dy, y.shape, { dtype: y.dtype, device }));
    for (const leaf of leaves) {
      gradients.push(leaf.grad?.toArray() ?? null);
      leaf.grad?.dispose();
    }
  }
  return { dtype: y.dtype, device: y.device, values, gradients };
}

test('the table has every op', () => {
  const functions = Object.entries(ops).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
  const helpers = ['linearDims', 'checkActivation', 'activatedFeatures'];
  expect(Object.keys(TABLE).sort()).toEqual(functions.filter((name) => !helpers.includes(name)).sort());
});

describe.each(lib.availableDevices())('on %s', (device) => {
  describe.each(DTYPE_NAMES)('%s', (dtype) => {
    test.each(Object.entries(TABLE))('%s', (_, row) => {
      tidy(() => {
        const accepted: readonly DType[] = OPERAND_DTYPES[row.kind];
        if (!accepted.includes(dtype)) {
          expect(() => run(row, device, dtype)).toThrow(DTypeError);
          return;
        }
        const got = run(row, device, dtype);
        const expected = run(row, 'cpu', 'float32', dtype);
        expect([got.device, got.dtype]).toEqual([device, row.result ?? dtype]);
        const tolerance = toleranceOf(dtype, device);
        expect(relativeError(got.values, expected.values)).toBeLessThan(tolerance);
        got.gradients.forEach((gradient, i) => {
          const wanted = expected.gradients[i];
          expect(gradient === null).toBe(wanted === null);
          if (gradient && wanted) expect(relativeError(gradient, wanted)).toBeLessThan(2 * tolerance);
        });
      });
    });
  });
});

describe('bfloat16', () => {
  const leaf = (values: number[]) => tensor(values, undefined, { dtype: 'bfloat16', requiresGrad: true });

  test('goes through the ops that move elements, and back', () => {
    const x = leaf([1, 2, 3, 4, 5, 6]);
    const y = lib.concat([lib.slice(x, 0, 4, 6), lib.reshape(x, [6])]);
    expect(Array.from(y.toArray())).toEqual([5, 6, 1, 2, 3, 4, 5, 6]);
    const part = lib.slice(x, 0, 1, 3);
    part.backward(tensor([7, 8], [2], { dtype: 'bfloat16' }));
    expect(Array.from(x.grad!.toArray())).toEqual([0, 7, 8, 0, 0, 0]);
  });

  test('is converted where a gradient is wanted', () => {
    const x = leaf([1, 2, 3, 4]);
    lib.sum(lib.scale(x.as('float32'), 2)).backward();
    expect(Array.from(x.grad!.toArray())).toEqual([2, 2, 2, 2]);
  });

  test('is rounded to nearest, ties to even, as PyTorch does', () => {
    // Next to 1, bfloat16 has steps of 2^-7.
    const inputs = [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -1 - 2 ** -8, 3.4e38, Number.NaN];
    const rounded = [1, 1 + 2 ** -6, 1 + 2 ** -7, -1, Number.POSITIVE_INFINITY, Number.NaN];
    expect(
      tensor([2 ** -133])
        .as('bfloat16')
        .item(),
    ).toBe(2 ** -133);
    expect(Array.from(tensor(inputs).as('bfloat16').toArray())).toEqual(rounded);
    expect(Array.from(lib.scale(tensor(inputs).as('bfloat16'), 1).toArray())).toEqual(rounded);
  });
});
