import { add, DTypeError, GradientError, mul, noGrad, ShapeError, scale, square, sum, tensor } from '../lib';

const leaf = (...values: number[]) => tensor(values, [values.length], { requiresGrad: true });

test('gradients of a value that is used several times add up', () => {
  const x = leaf(1, 2, 3);
  const y = add(mul(x, x), add(x, x));
  sum(y).backward();
  expect([...x.grad!.data]).toEqual([4, 6, 8]);
});

test('a second backward adds to the gradient that is there', () => {
  const x = leaf(2);
  square(x).backward();
  square(x).backward();
  expect(x.grad!.item()).toBe(8);
});

test('the same tensor on both sides gets both gradients', () => {
  const x = leaf(5);
  add(x, x).backward();
  expect(x.grad!.item()).toBe(2);
});

test('only leaves keep a gradient, and only those that want one', () => {
  const [x, c] = [leaf(3), tensor([2])];
  const y = mul(x, c);
  square(y).backward();
  expect([x.grad!.item(), c.grad, y.grad]).toEqual([24, null, null]);
});

test('the gradient that is handed in stays the caller’s', () => {
  const [x, g] = [leaf(1, 2), tensor([10, 20])];
  scale(x, 3).backward(g);
  expect([...x.grad!.data, ...g.data]).toEqual([30, 60, 10, 20]);
});

test('noGrad records nothing', () => {
  const x = leaf(1);
  expect(noGrad(() => square(x)).requiresGrad).toBe(false);
  expect(square(x).requiresGrad).toBe(true);
});

test('detach cuts the graph', () => {
  const x = leaf(3);
  mul(x, square(x).detach()).backward();
  expect(x.grad!.item()).toBe(9);
});

test('releaseGraph disposes intermediates and leaves the ends', () => {
  const x = leaf(3);
  const middle = square(x);
  const loss = sum(middle);
  loss.backward(null, { releaseGraph: true });
  expect([middle.disposed, loss.disposed, x.disposed, x.grad!.item()]).toEqual([true, false, false, 6]);
});

test('a deep graph does not overflow the stack', () => {
  const x = leaf(1);
  let y = scale(x, 1);
  for (let i = 0; i < 20_000; i++) y = scale(y, 1);
  y.backward();
  expect(x.grad!.item()).toBe(1);
});

test('what has no gradient says so', () => {
  expect(() => tensor([1]).backward()).toThrow(GradientError);
  expect(() => square(leaf(1, 2)).backward()).toThrow('needs the gradient of its own shape');
  expect(() => square(leaf(1, 2)).backward(tensor([1, 1], [2], { dtype: 'int32' }))).toThrow(DTypeError);
  expect(() => square(leaf(1, 2)).backward(tensor([1]))).toThrow(ShapeError);
  expect(() => square(leaf(1, 2)).backward([1, 1] as never)).toThrow('backward: gradient: expected a tensor');
  const y = square(leaf(1));
  y.backward();
  expect(() => y.backward()).toThrow('already used');
});
