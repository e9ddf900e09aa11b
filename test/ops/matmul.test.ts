import { matmul, ShapeError, tensor } from '../../lib';
import { checkOp, type Nd } from '../support/check_op';

function reference(a: Nd, b: Nd, transposeA: boolean, transposeB: boolean): Float64Array {
  const batch = a.shape.slice(0, -2).reduce((n, s) => n * s, 1);
  const [a0, a1] = a.shape.slice(-2) as [number, number];
  const [b0, b1] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [a1, a0] : [a0, a1];
  const n = transposeB ? b0 : b1;
  const y = new Float64Array(batch * m * n);
  for (let c = 0; c < batch; c++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++)
        for (let l = 0; l < k; l++) {
          const x = a.data[c * m * k + (transposeA ? l * m + i : i * k + l)]!;
          const w = b.data[(b.shape.length === 2 ? 0 : c * k * n) + (transposeB ? j * k + l : l * n + j)]!;
          y[(c * m + i) * n + j]! += x * w;
        }
  return y;
}

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
      (x, y) => reference(x, y, transposeA, transposeB),
      [a, b],
    );
  });
});

test('refuses matrices that do not fit', () => {
  expect(() => matmul(tensor([[1, 2]]), tensor([[1, 2]]))).toThrow(ShapeError);
  expect(() => matmul(tensor([1, 2]), tensor([[1], [2]]))).toThrow(ShapeError);
});
