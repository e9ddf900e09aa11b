/**
 * Sizes beyond 32 bits. Tensors without elements stand for those that take 8 GiB and more: sizes, strides and the checks of
 * both are the same.
 */
import {
  add,
  argmax,
  availableDevices,
  broadcastTo,
  concat,
  feedForward,
  matmul,
  max,
  permute,
  ShapeError,
  slice,
  structuredLinear,
  sum,
  type Tensor,
  tensor,
  transpose,
  zeros,
} from '../../lib';
import { linearDims } from '../../lib/ops/linear_dims';

const LARGE = 2 ** 31;
const refused = (where: string, got: number) =>
  new ShapeError(where, 'sizes and strides of at most 2147483647 elements', String(got));

describe('are refused, where kernels take lists of 32-bit numbers', () => {
  const leaf = (...shape: number[]) => zeros(shape, { requiresGrad: true });
  const backward = (y: Tensor) => y.backward(zeros(y.shape));

  test.each<[string, () => unknown, Error]>([
    ['permute', () => permute(zeros([0, 2, 65536, 65536]), [1, 0, 2, 3]), refused('permute', 2 ** 32)],
    ['transpose', () => transpose(zeros([0, LARGE])), refused('permute', LARGE)],
    ['slice', () => slice(zeros([0, 2, LARGE - 1, 2]), 2, 0, 1), refused('slice', 2 * (LARGE - 1))],
    ['concat', () => concat([zeros([0, 2, 65536, 32768])], 0), refused('concat', LARGE)],
    ['broadcastTo', () => broadcastTo(zeros([0, 1]), [0, LARGE]), refused('broadcastTo', LARGE)],
    ['binary', () => add(zeros([0, LARGE]), tensor([1])), refused('add', LARGE)],
    ['argmax', () => argmax(zeros([0, LARGE])), refused('argmax: x', LARGE)],
    ['sum, backward', () => backward(sum(leaf(0, LARGE), { dim: 1 })), refused('backward of a reduction', LARGE)],
    ['max, backward', () => backward(max(leaf(0, 2, LARGE), { dim: 1 })), refused('backward of a reduction', LARGE)],
    ['a layer', () => linearDims('linear', null, [LARGE, 1]), refused('linear', LARGE)],
  ])('%s', (_, body, error) => expect(body).toThrow(error));
});

describe('are right, where nothing is stepped over or counted in 32 bits', () => {
  test.each<[string, () => Tensor, number[]]>([
    ['a stride over one row', () => permute(zeros([1, 65536, 65536, 0]), [3, 0, 1, 2]), [0, 1, 65536, 65536]],
    ['a stride over no row', () => transpose(zeros([0, 65536, 65536]), 0, 1), [65536, 0, 65536]],
    ['rows of one matrix', () => matmul(zeros([65536 * 65536, 0]), zeros([0, 0])), [2 ** 32, 0]],
    ['sum', () => sum(zeros([0, LARGE]), { dim: 1 }), [0]],
  ])('%s', (_, body, shape) => expect(body().shape).toEqual(shape));
});

if (availableDevices().includes('cuda'))
  describe('are refused on CUDA, which counts the dimensions of products in 32 bits', () => {
    const on = { device: 'cuda' } as const;
    const refusal = expect.objectContaining({ code: 'ERR_SHAPE', message: expect.stringContaining('got 2147483648') });

    test.each<[string, () => unknown]>([
      ['matmul', () => matmul(zeros([LARGE, 0], on), zeros([0, 0], on))],
      ['linear', () => structuredLinear(zeros([LARGE, 0], on), { v: null, u: zeros([0, 0], on) })],
      [
        'feedForward',
        () =>
          feedForward(
            zeros([LARGE, 0], on),
            { v: null, u: zeros([0, 0], on) },
            { v: null, u: zeros([0, 0], on) },
            'relu',
          ),
      ],
    ])('%s', (_, body) => expect(body).toThrow(refusal));
  });
