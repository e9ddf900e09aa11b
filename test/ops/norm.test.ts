import { layerNorm, rmsNorm, ShapeError, tensor } from '../../lib';
import { checkOp } from '../support/check_op';
import { layerNormOf, rmsNormOf } from '../support/definitions';

describe.each([[[5, 3]], [[2, 3, 17]], [[9, 48]], [[1, 64]]])('x of %j', (shape) => {
  const width = [shape[shape.length - 1]!];
  test('layerNorm with bias', () =>
    checkOp((x, w, b) => layerNorm(x, w, b), layerNormOf, [shape, width, width], { gradientTolerance: 5e-5 }));
  test('layerNorm without bias', () =>
    checkOp((x, w) => layerNorm(x, w), layerNormOf, [shape, width], { gradientTolerance: 5e-5 }));
  test('rmsNorm', () => checkOp((x, w) => rmsNorm(x, w), rmsNormOf, [shape, width], { gradientTolerance: 5e-5 }));
});

test('refuses a weight of another width', () => {
  expect(() => layerNorm(tensor([[1, 2, 3]]), tensor([1, 2]))).toThrow(ShapeError);
  expect(() => rmsNorm(tensor([[1, 2, 3]]), tensor([1, 2]))).toThrow('rmsNorm: weight: expected [3], got [2]');
});
