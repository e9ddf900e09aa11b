import {
  add,
  clone,
  DisposedError,
  DTypeError,
  GradientError,
  keep,
  mul,
  noGrad,
  ones,
  parameter,
  pow,
  powScalar,
  reshape,
  SffnError,
  ShapeError,
  scale,
  square,
  sum,
  tensor,
  tidy,
  zeros,
} from '../lib';
import { Linear } from '../lib/nn';
import { AdamW } from '../lib/optim';

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

describe('a graph that is no longer what forward made', () => {
  test('a disposed intermediate is an error, before any gradient is changed', () => {
    const [p, q] = [leaf(1, 2), leaf(3, 4)];
    const middle = scale(p, 2);
    const y = sum(add(middle, q));
    middle.dispose();
    expect(() => y.backward()).toThrow('backward: a tensor of the graph was disposed');
    expect(() => y.backward()).toThrow(GradientError);
    expect([p.grad, q.grad]).toEqual([null, null]);
  });

  test('so is one that tidy disposed, and an operand that an op reads', () => {
    const p = leaf(1, 2);
    const y = tidy(() => keep(sum(scale(scale(p, 2), 3))));
    expect(() => y.backward()).toThrow(GradientError);
    const factor = tensor([5, 6]);
    const z = sum(mul(p, factor));
    factor.dispose();
    expect(() => z.backward()).toThrow('backward: a tensor of shape [2] that it needs was disposed');
    z.dispose();
    expect(() => z.backward()).toThrow(DisposedError);
  });

  test('a value that backward reads was written to', () => {
    const p = leaf(1, 2);
    const factor = tensor([5, 6]);
    const y = sum(mul(p, factor));
    factor.view().copyFrom(tensor([7, 8]));
    expect(() => y.backward()).toThrow('a tensor of shape [2] that it needs was written to after it was used');
    expect(p.grad).toBeNull();
  });

  test('a value that backward reads was written to through its array', () => {
    const refused = 'that it needs was written to after it was used';
    for (const size of [1, 2, 3, 4, 5, 9]) {
      const p = parameter(ones([size]));
      const kept = p.data;
      const early = sum(square(p));
      kept[size - 1] = 3;
      expect(() => early.backward()).toThrow(refused);
      const late = sum(square(p));
      p.data[0] = 5;
      expect(() => late.backward()).toThrow(refused);
      const halves = parameter(ones([size], { dtype: 'bfloat16' }));
      const y = sum(square(halves));
      halves.bits[size - 1] = 0;
      expect(() => y.backward(ones([], { dtype: 'bfloat16' }))).toThrow(refused);
      expect([p.grad, halves.grad]).toEqual([null, null]);
      const again = sum(square(p));
      expect(p.data[0]).toBe(5);
      again.backward();
      expect(p.grad!.toArray()[0]).toBe(10);
    }
  });

  test('an optimizer or a module wrote to a parameter', () => {
    const layer = new Linear({ inFeatures: 2, outFeatures: 2 });
    const x = leaf(1, 2);
    const [first, second, third] = [0, 1, 2].map(() => sum(layer.forward(reshape(x, [1, 2]))));
    first!.backward();
    new AdamW(layer).step();
    expect(() => second!.backward()).toThrow(GradientError);
    const again = sum(layer.forward(reshape(x, [1, 2])));
    layer.loadStateDict(new Map([...layer.stateDict()].map(([name, t]) => [name, clone(t)])));
    for (const y of [third!, again]) expect(() => y.backward()).toThrow(GradientError);
  });

  test('a value that backward does not read may be written to', () => {
    const p = leaf(1, 2);
    const y = sum(add(scale(p, 3), p));
    noGrad(() => p.copyFrom(tensor([5, 5])));
    y.backward();
    expect([...p.grad!.data]).toEqual([4, 4]);
  });
});

test('what is taken for a gradient has the shape of its tensor, and numbers', () => {
  const p = tensor([1, 2]);
  for (const wrong of [zeros([3]), zeros([2, 1]), zeros([2], { dtype: 'int32' }), [1, 2], 'x', undefined])
    expect(() => {
      p.grad = wrong as never;
    }).toThrow(SffnError);
  p.grad = ones([2]);
  p.grad = null;
});

test('a power of 0 has the gradient 0 by its base, at 0 too', () => {
  const [a, b] = [leaf(0, 2, 0), leaf(0, 0, 2)];
  sum(pow(a, b.detach())).backward();
  expect([...a.grad!.data]).toEqual([0, 0, 0]);
  a.grad = null;
  sum(powScalar(a, 0)).backward();
  expect([...a.grad!.data]).toEqual([0, 0, 0]);
});
