import { kernels } from '../../lib/kernels';
import { expectClose, expectGradient, onEveryIsa, randomArray, randomIds } from './support';

type Numbers = Float32Array | Float64Array;

function logSoftmax(x: Numbers, features: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += features) {
    const row = Array.from(x.subarray(start, start + features));
    const top = Math.max(...row);
    const lse = top + Math.log(row.reduce((total, value) => total + Math.exp(value - top), 0));
    row.forEach((value, i) => {
      y[start + i] = value - lse;
    });
  }
  return y;
}
const softmax = (x: Numbers, features: number): Float64Array => logSoftmax(x, features).map(Math.exp);

const SHAPES: [number, number][] = [
  [1, 1],
  [3, 5],
  [7, 16],
  [5, 101],
  [40, 1031],
];

onEveryIsa(() => {
  describe.each(SHAPES)('[%i, %i]', (n, features) => {
    const x = randomArray(n * features, 1, 8);
    const dy = randomArray(n * features, 2);

    test.each([
      ['softmax', 0, softmax],
      ['log-softmax', 1, logSoftmax],
    ] as const)('%s', (_, log, definition) => {
      const [y, dx] = [new Float32Array(x.length), new Float32Array(x.length)];
      kernels.softmax_forward({ x, y, n, features, log });
      expectClose(y, definition(x, features), 1e-6);
      kernels.softmax_backward({ dy, y, dx, n, features, log });
      if (n * features > 1000) return;
      const at = Float64Array.from(x);
      const loss = (): number => definition(at, features).reduce((total, value, i) => total + value * dy[i]!, 0);
      expectGradient(loss, at, dx, 1e-5);
    });

    test.each([-100, 0, -1])('cross entropy, ignoring %i', (ignored) => {
      const targets = randomIds(n, 3, features);
      if (n > 2 && ignored < 0) targets[1] = ignored;
      const lossOf = (logits: Numbers): number => {
        const rows = Array.from(targets.keys()).filter((r) => targets[r] !== ignored);
        const y = logSoftmax(logits, features);
        return rows.reduce((total, r) => total - y[r * features + targets[r]!]!, 0) / Math.max(rows.length, 1);
      };
      const [loss, lse, count] = [new Float32Array(1), new Float32Array(n), new Float32Array(1)];
      kernels.cross_entropy_forward({
        logits: x,
        targets,
        loss,
        lse,
        count,
        n,
        classes: features,
        ignore_index: ignored,
      });
      expectClose(loss, [lossOf(x)], 1e-6);
      expect(count[0]).toBe(targets.filter((target) => target !== ignored).length);

      const dlogits = Float32Array.from(x);
      const scale = 1.75;
      kernels.cross_entropy_backward({
        dloss: Float32Array.of(scale),
        logits: dlogits,
        targets,
        lse,
        count,
        dlogits,
        n,
        classes: features,
        ignore_index: ignored,
      });
      const p = softmax(x, features);
      const expected = p.map((value, at) => {
        const target = targets[Math.floor(at / features)];
        if (target === ignored) return 0;
        return (scale / count[0]!) * (value - Number(at % features === target));
      });
      expectClose(dlogits, expected, 1e-6);
      if (n * features > 1000) return;
      const at = Float64Array.from(x);
      expectGradient(() => scale * lossOf(at), at, dlogits, 1e-5);
    });
  });

  test('masked scores weigh nothing', () => {
    const y = new Float32Array(20);
    const x = randomArray(20, 1);
    x.fill(Number.NEGATIVE_INFINITY, 3, 19);
    kernels.softmax_forward({ x, y, n: 1, features: 20, log: 0 });
    expect(Array.from(y.slice(3, 19))).toEqual(Array(16).fill(0));
    expectClose(y, softmax(x, 20), 1e-6);
  });

  test('logits far beyond the range of exp', () => {
    const x = Float32Array.of(1e4, 1e4 - 1, -1e4);
    const [loss, lse, count] = [new Float32Array(1), new Float32Array(1), new Float32Array(1)];
    kernels.cross_entropy_forward({
      logits: x,
      targets: Int32Array.of(2),
      loss,
      lse,
      count,
      n: 1,
      classes: 3,
      ignore_index: -100,
    });
    expectClose(loss, [2e4 + Math.log(1 + Math.exp(-1))], 1e-7);
  });

  test('no row counted: the loss and its gradient are 0', () => {
    const x = randomArray(10, 1);
    const targets = Int32Array.of(-100, -100);
    const [loss, lse, count] = [Float32Array.of(9), new Float32Array(2), new Float32Array(1)];
    kernels.cross_entropy_forward({ logits: x, targets, loss, lse, count, n: 2, classes: 5, ignore_index: -100 });
    const dlogits = new Float32Array(10).fill(9);
    kernels.cross_entropy_backward({
      dloss: Float32Array.of(1),
      logits: x,
      targets,
      lse,
      count,
      dlogits,
      n: 2,
      classes: 5,
      ignore_index: -100,
    });
    expect([loss[0], count[0]]).toEqual([0, 0]);
    expect(dlogits).toEqual(new Float32Array(10));
  });

  test.each([5, -1, 2 ** 30])('target %i is refused', (target) => {
    const one = new Float32Array(1);
    const two = new Float32Array(2);
    expect(() =>
      kernels.cross_entropy_forward({
        logits: new Float32Array(10),
        targets: Int32Array.of(4, target),
        loss: one,
        lse: two,
        count: one,
        n: 2,
        classes: 5,
        ignore_index: -100,
      }),
    ).toThrow(
      expect.objectContaining({
        code: 'ERR_RANGE',
        message: `crossEntropy: target ${target} at position 1 is outside 0 .. 4`,
      }),
    );
  });
});
