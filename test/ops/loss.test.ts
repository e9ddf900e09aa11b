import {
  crossEntropy,
  type Device,
  embedding,
  linearCrossEntropy,
  logSoftmax,
  OptionError,
  ShapeError,
  softmax,
  tensor,
} from '../../lib';
import { checkOp, type Nd, onEveryIsa } from '../support/check_op';
import { logitsOf, meanLoss } from '../support/definitions';

const IGNORE = -100;

const cases = [
  [[0], 2],
  [[4, IGNORE, 0, 2, 4], 5],
  [Array.from({ length: 37 }, (_, i) => (i % 5 === 0 ? IGNORE : (i * 7) % 83)), 83],
] as const;

describe.each(cases)('targets %j of %i classes', (targets, classes) => {
  const ids = (device: Device) => tensor(Int32Array.from(targets), undefined, { device });
  test('crossEntropy', () =>
    checkOp(
      (x) => crossEntropy(x, ids(x.device)),
      (x) => meanLoss(x, targets),
      [[targets.length, classes]],
      { low: -4, high: 4, resultType: 'float32' },
    ));
  test('crossEntropy that writes its gradient over the logits', () =>
    checkOp(
      (x) => crossEntropy(x, ids(x.device), { inPlace: true }),
      (x) => meanLoss(x, targets),
      [[targets.length, classes]],
      { low: -4, high: 4, resultType: 'float32' },
    ));
  test('linearCrossEntropy', () =>
    checkOp(
      (x, w) => linearCrossEntropy(x, w, ids(x.device)),
      (x, w) => meanLoss(logitsOf(x, w), targets),
      [
        [targets.length, 11],
        [classes, 11],
      ],
      { low: -2, high: 2, resultType: 'float32' },
    ));
});

test('more rows than one chunk of the fused head', () => {
  const targets = Array.from({ length: 601 }, (_, i) => (i * 13) % 7);
  checkOp(
    (x, w) => linearCrossEntropy(x, w, tensor(Int32Array.from(targets), undefined, { device: x.device })),
    (x, w) => meanLoss(logitsOf(x, w), targets),
    [
      [601, 3],
      [7, 3],
    ],
    { resultType: 'float32' },
  );
});

test('rows that are all ignored give a loss and gradients of zero', () => {
  const x = tensor(new Float32Array(6).fill(1), [2, 3], { requiresGrad: true });
  const loss = crossEntropy(x, tensor(Int32Array.of(IGNORE, IGNORE)));
  expect(loss.item()).toBe(0);
  loss.backward();
  expect([...x.grad!.data]).toEqual([0, 0, 0, 0, 0, 0]);
});

test('large logits do not overflow', () => {
  expect(crossEntropy(tensor([[1e4, 0]]), tensor(Int32Array.of(0))).item()).toBe(0);
  expect(crossEntropy(tensor([[1e4, 0]]), tensor(Int32Array.of(1))).item()).toBeCloseTo(1e4);
});

test('a target that is no class is an error, not a read out of bounds', () => {
  onEveryIsa(() => {
    const run = (id: number) => crossEntropy(tensor([[1, 2]]), tensor(Int32Array.of(id)));
    for (const id of [2, -1, 2 ** 31 - 1])
      expect(() => run(id)).toThrow(expect.objectContaining({ code: 'ERR_RANGE' }));
    expect(() => linearCrossEntropy(tensor([[1]]), tensor([[1], [1]]), tensor(Int32Array.of(7)))).toThrow(
      expect.objectContaining({ code: 'ERR_RANGE' }),
    );
    expect(() => embedding(tensor(Int32Array.of(3)), tensor([[1], [2]]))).toThrow(
      expect.objectContaining({ code: 'ERR_RANGE' }),
    );
  });
  expect(() => crossEntropy(tensor([[1, 2]]), tensor(Int32Array.of(1, 0)))).toThrow(ShapeError);
  expect(() => crossEntropy(tensor([[1, 2]]), tensor(Int32Array.of(1)), { ignoreIndex: 0.5 })).toThrow(OptionError);
});

test('embedding gathers rows, and its gradient adds them up', () => {
  const ids = Int32Array.of(2, 0, 2, 1, 2);
  checkOp(
    (table) => embedding(tensor(ids, undefined, { device: table.device }), table),
    (table) => Float64Array.from({ length: 5 * 7 }, (_, i) => table.data[ids[Math.floor(i / 7)]! * 7 + (i % 7)]!),
    [[4, 7]],
  );
});

describe.each([[[1, 1]], [[3, 5]], [[2, 3, 33]]])('softmax of %j', (shape) => {
  const width = shape[shape.length - 1]!;
  const reference = (log: boolean) => (x: Nd) => {
    const y = new Float64Array(x.data.length);
    for (let i = 0; i < y.length; i += width) {
      const row = x.data.subarray(i, i + width);
      const lse = Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0));
      y.set(
        row.map((v) => (log ? v - lse : Math.exp(v - lse))),
        i,
      );
    }
    return y;
  };
  // One class has an exact gradient of zero, where only the absolute error means something.
  test('softmax', () => checkOp(softmax, reference(false), [shape], { low: -5, high: 5, gradients: width > 1 }));
  test('logSoftmax', () => checkOp(logSoftmax, reference(true), [shape], { low: -5, high: 5, gradients: width > 1 }));
});
