import { layerNorm, rmsNorm, ShapeError, tensor } from '../../lib';
import { checkOp, type Nd } from '../support/check_op';

const eps = 1e-5;

function rows(x: Nd, f: (row: Float64Array) => ArrayLike<number>): Float64Array {
  const width = x.shape[x.shape.length - 1]!;
  const y = new Float64Array(x.data.length);
  for (let i = 0; i < y.length; i += width) y.set(f(x.data.subarray(i, i + width)), i);
  return y;
}

const layer = (x: Nd, weight: Nd, bias?: Nd) =>
  rows(x, (row) => {
    const mean = row.reduce((a, b) => a + b, 0) / row.length;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + eps)) * weight.data[i]! + (bias?.data[i] ?? 0));
  });

const rms = (x: Nd, weight: Nd) =>
  rows(x, (row) => {
    const scale = 1 / Math.sqrt(row.reduce((a, b) => a + b * b, 0) / row.length + eps);
    return row.map((v, i) => v * scale * weight.data[i]!);
  });

describe.each([[[5, 3]], [[2, 3, 17]], [[9, 48]], [[1, 64]]])('x of %j', (shape) => {
  const width = [shape[shape.length - 1]!];
  test('layerNorm with bias', () =>
    checkOp((x, w, b) => layerNorm(x, w, b), layer, [shape, width, width], { gradientTolerance: 5e-5 }));
  test('layerNorm without bias', () =>
    checkOp((x, w) => layerNorm(x, w), layer, [shape, width], { gradientTolerance: 5e-5 }));
  test('rmsNorm', () => checkOp((x, w) => rmsNorm(x, w), rms, [shape, width], { gradientTolerance: 5e-5 }));
});

test('refuses a weight of another width', () => {
  expect(() => layerNorm(tensor([[1, 2, 3]]), tensor([1, 2]))).toThrow(ShapeError);
  expect(() => rmsNorm(tensor([[1, 2, 3]]), tensor([1, 2]))).toThrow('rmsNorm: weight: expected [3], got [2]');
});
