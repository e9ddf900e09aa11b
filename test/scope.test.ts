import { add, keep, memoryStats, parameter, Scope, square, sum, tensor, tidy } from '../lib';
import { allocatedWithoutGarbage } from './support/garbage';

beforeEach(() => allocatedWithoutGarbage());

test('tidy disposes what was made inside, except the result', () => {
  let inside = tensor(0);
  const before = memoryStats().allocated;
  const result = tidy(() => {
    inside = tensor([1, 2]);
    return { list: [add(inside, inside)] };
  });
  expect([inside.disposed, result.list[0]!.disposed]).toEqual([true, false]);
  result.list[0]!.dispose();
  expect(memoryStats().allocated).toBe(before);
});

test('the result of an inner scope belongs to the outer one', () => {
  let inner = tensor(0);
  tidy(() => {
    inner = tidy(() => tensor([1]));
    expect(inner.disposed).toBe(false);
  });
  expect(inner.disposed).toBe(true);
});

test('using a Scope works through errors', () => {
  let x = tensor(0);
  expect(() => {
    using _scope = new Scope();
    x = tensor([1]);
    throw new Error('stop');
  }).toThrow('stop');
  expect(x.disposed).toBe(true);
});

test('keep, parameters and gradients of leaves outlive the scope', () => {
  const { kept, w } = ((): { kept: ReturnType<typeof tensor>; w: ReturnType<typeof tensor> } => {
    using _scope = new Scope();
    const w = parameter(tensor([3]));
    sum(square(w)).backward();
    return { kept: keep(tensor([1])), w };
  })();
  expect([kept.disposed, w.disposed, w.grad!.item()]).toEqual([false, false, 6]);
});

test('a loop in a scope holds constant memory', () => {
  const w = parameter(tensor(new Float32Array(100)));
  const step = () =>
    tidy(() => {
      sum(square(add(w, w))).backward();
      w.grad?.dispose();
      w.grad = null;
    });
  step();
  const { allocated, systemAllocations } = memoryStats();
  for (let i = 0; i < 1000; i++) step();
  expect(memoryStats().allocated).toBe(allocated);
  expect(memoryStats().systemAllocations).toBe(systemAllocations);
});
