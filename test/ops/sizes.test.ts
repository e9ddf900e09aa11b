/**
 * Sizes beyond 32 bits. Tensors without elements stand for those that take 8 GiB and more: sizes, strides and the checks of
 * both are the same.
 */
import { constants } from 'node:buffer';
import {
  add,
  argmax,
  availableDevices,
  broadcastTo,
  concat,
  empty,
  feedForward,
  Generator,
  linearCrossEntropy,
  logSoftmax,
  matmul,
  max,
  OptionError,
  permute,
  ShapeError,
  slice,
  softmax,
  structuredLinear,
  sum,
  type Tensor,
  tensor,
  transpose,
  zeros,
} from '../../lib';
import { native } from '../../lib/native';
import { int32Strides } from '../../lib/ops/broadcast';
import { linearDims } from '../../lib/ops/linear_dims';

const LARGE = 2 ** 31;

describe('sizes that are none, or more than there can be, are refused before memory is asked for', () => {
  const none = (...shape: number[]) => new OptionError('full: shape', 'a shape of whole numbers', shape);
  const tooMany = (where: string, ...shape: number[]) =>
    new ShapeError(where, 'a shape of at most 9007199254740991 elements', `[${shape.join(', ')}]`);

  test.each<[string, () => unknown, Error]>([
    ['a fraction', () => zeros([1.5]), none(1.5)],
    ['NaN', () => zeros([Number.NaN]), none(Number.NaN)],
    ['negative sizes, whose product is not', () => zeros([-2, -2]), none(-2, -2)],
    ['2^53', () => zeros([2 ** 53]), none(2 ** 53)],
    ['a hole', () => zeros(new Array(1)), new OptionError('full: shape', 'a shape of whole numbers', [undefined])],
    ['2^62 elements', () => zeros([LARGE, LARGE]), tooMany('full: shape', LARGE, LARGE)],
    ['2^64 elements, as empty', () => empty([2 ** 32, 2 ** 32]), tooMany('empty: shape', 2 ** 32, 2 ** 32)],
    ['strides beside a size of 0', () => zeros([LARGE, 0, LARGE]), tooMany('full: shape', LARGE, 0, LARGE)],
    ['random', () => new Generator(0).normal([LARGE, LARGE]), tooMany('normal: shape', LARGE, LARGE)],
    ['an empty fraction', () => empty([0.5]), new OptionError('empty: shape', 'a shape of whole numbers', [0.5])],
    ['2^53 - 1 elements', () => empty([2 ** 53 - 1]), expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' })],
    ['2^62 bytes', () => zeros([2 ** 30, 2 ** 22]), expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' })],
  ])('%s', (_, body, error) => expect(body).toThrow(error));
});

test('native code refuses what it cannot count in bytes', () => {
  for (const size of [-1, 2 ** 53, 2 ** 62, 2 ** 63])
    expect(() => native.allocate(size, 0)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
});

test('a tensor has no array that Node could not hold', () => {
  const x = empty([constants.MAX_LENGTH / 4 + 1]);
  for (const read of [() => x.data, () => x.data, () => x.toArray(), () => x.storage.copy()])
    expect(read).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
  x.dispose();
});

test('rows without features are none, however many', () => {
  const x = zeros([2 ** 53 - 1, 0], { requiresGrad: true });
  for (const op of [softmax, logSoftmax]) {
    const y = op(x);
    expect(y.shape).toEqual(x.shape);
    y.backward(zeros(y.shape));
  }
});

test('a loss of no classes is refused', () => {
  const none = zeros([0, 0]);
  expect(() => linearCrossEntropy(none, none, tensor(new Int32Array(0)))).toThrow(
    new ShapeError('linearCrossEntropy: weight', 'at least one class', '[0, 0]'),
  );
});
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
    ['a step between matrices', () => int32Strides('matmul', [2, 2], [0, LARGE]), refused('matmul', LARGE)],
    ['broadcastTo', () => broadcastTo(tensor([1]), [LARGE + 2]), refused('broadcastTo', LARGE + 2)],
    ['argmax', () => argmax(zeros([0, LARGE])), refused('argmax: x', LARGE)],
    ['sum, backward', () => backward(sum(leaf(0, LARGE), { dim: 1 })), refused('backward of a reduction', LARGE)],
    ['max, backward', () => backward(max(leaf(0, 2, LARGE), { dim: 1 })), refused('backward of a reduction', LARGE)],
    ['a layer', () => linearDims('linear', null, [LARGE, 1]), refused('linear', LARGE)],
  ])('%s', (_, body, error) => expect(body).toThrow(error));
});

test('a frozen shape is checked as any other', () => {
  for (const shape of [
    [1.5, 2],
    [Number.NaN, 2],
    [-1, -2],
  ])
    expect(() => linearDims('linear', null, Object.freeze(shape))).toThrow('linear: expected a shape of whole numbers');
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
