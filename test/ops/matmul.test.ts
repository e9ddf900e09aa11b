import { matmul, ShapeError, tensor } from '../../lib';
import { checkOp } from '../support/check_op';
import { product } from '../support/definitions';

const flags = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const;

describe.each(flags)('transposeA=%s, transposeB=%s', (transposeA, transposeB) => {
  test.each([
    [[], 3, 5, 7, true],
    [[], 1, 1, 1, true],
    [[4], 17, 3, 2, false],
    [[2, 3], 5, 9, 4, true],
    [[2], 33, 50, 19, false],
  ] as const)('batch %j, m %i, n %i, k %i, one b: %s', (batch, m, n, k, one) => {
    const a = [...batch, ...(transposeA ? [k, m] : [m, k])];
    const b = [...(one ? [] : batch), ...(transposeB ? [n, k] : [k, n])];
    checkOp(
      (x, y) => matmul(x, y, { transposeA, transposeB }),
      (x, y) => product(x, y, transposeA, transposeB),
      [a, b],
    );
  });
});

test('refuses matrices that do not fit', () => {
  expect(() => matmul(tensor([[1, 2]]), tensor([[1, 2]]))).toThrow(ShapeError);
  expect(() => matmul(tensor([1, 2]), tensor([[1], [2]]))).toThrow(ShapeError);
});
