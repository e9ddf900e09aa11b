import { causalAttention, noGrad, OptionError, tensor } from '../../lib';
import { checkOp } from '../support/check_op';
import { attention } from '../support/definitions';
import { TestRandom } from '../support/random';

test.each([
  [{ heads: 1, kvHeads: 1, ropeBase: 10000 }, 1, 1, 2],
  [{ heads: 2, kvHeads: 2, ropeBase: 10000 }, 2, 7, 6],
  [{ heads: 4, kvHeads: 2, ropeBase: 100 }, 1, 9, 4],
  [{ heads: 3, kvHeads: 1, ropeBase: 0 }, 1, 5, 3],
])('%j, batch %i, seq %i, head size %i', (sizes, batch, seq, size) => {
  const width = (sizes.heads + 2 * sizes.kvHeads) * size;
  checkOp(
    (qkv) => causalAttention(qkv, sizes),
    (qkv) => attention(qkv, sizes),
    [[batch, seq, width]],
    { low: -2, high: 2, gradientTolerance: 5e-5 },
  );
});

test.each([
  [{ heads: 2, kvHeads: 1, ropeBase: 10000 }, 131, 64],
  [{ heads: 1, kvHeads: 1, ropeBase: 10000 }, 257, 20],
])('long sequences, forward: %j, seq %i, head size %i', (sizes, seq, size) => {
  const width = (sizes.heads + 2 * sizes.kvHeads) * size;
  checkOp(
    (qkv) => causalAttention(qkv, sizes),
    (qkv) => attention(qkv, sizes),
    [[1, seq, width]],
    { low: -2, high: 2, gradients: false },
  );
});

test('backward over several blocks agrees with sums of single differences', () => {
  const sizes = { heads: 2, kvHeads: 1, ropeBase: 10000 };
  const shape = [1, 150, 4 * 8];
  const random = new TestRandom(5);
  const data = random.array(150 * 32);
  const g = random.array(150 * 16);
  const direction = random.array(data.length);
  const qkv = tensor(data, shape, { requiresGrad: true });
  causalAttention(qkv, sizes).backward(tensor(g, [1, 150, 16]));
  const slope = Float64Array.from(qkv.grad!.data).reduce((sum, d, i) => sum + d * direction[i]!, 0);
  const loss = (step: number) =>
    attention({ shape, data: Float64Array.from(data, (x, i) => x + step * direction[i]!) }, sizes).reduce(
      (sum, y, i) => sum + y * g[i]!,
      0,
    );
  expect(Math.abs(slope / ((loss(1e-5) - loss(-1e-5)) / 2e-5) - 1)).toBeLessThan(1e-4);
});

test('a later token does not change an earlier result', () => {
  const random = new TestRandom(3);
  const data = random.array(6 * 12);
  const run = (values: Float32Array) =>
    noGrad(() => causalAttention(tensor(values, [1, 6, 12]), { heads: 1 }).toArray());
  const before = run(data);
  data.fill(9, 5 * 12);
  expect(run(data).subarray(0, 5 * 4)).toEqual(before.subarray(0, 5 * 4));
});

test('refuses heads that do not divide', () => {
  const qkv = tensor(new Float32Array(24), [1, 2, 12]);
  expect(() => causalAttention(qkv, { heads: 3, kvHeads: 2 })).toThrow(OptionError);
  expect(() => causalAttention(qkv, { heads: 5 })).toThrow('a multiple of 15 features, got 12');
  expect(() => causalAttention(qkv, { heads: 2, kvHeads: 1, ropeBase: 1e4 })).toThrow('an even number');
  expect(() => causalAttention(qkv, { heads: Number.NaN })).toThrow(OptionError);
});
