import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { expectClose, expectSameOnAnyThreadCount, onEveryIsa, randomArray } from './support';

/** One, an odd number, more than one task's share. */
const SIZES = [1, 37, 70001];

/** Runs body with handles of copies of the arrays, and copies the results back. */
function withHandles(arrays: Float32Array[], body: (handles: number[]) => void): Float32Array[] {
  const handles = arrays.map((array) => native.allocate(array.length, 0));
  const contents = handles.map((handle) => new Float32Array(native.arrayBuffer(handle)));
  contents.forEach((content, i) => {
    content.set(arrays[i]!);
  });
  body(handles);
  const results = contents.map((content) => content.slice());
  for (const [i, handle] of handles.entries()) {
    native.detach(handle, contents[i]!.buffer);
    native.release(handle);
  }
  return results;
}

const OPTIONS = { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1 };

/** What `parts` parameters are updated with in a step. */
function numbersOf(parts: number, step: number): Float32Array {
  const numbers = new Float32Array(8 * parts);
  const { lr, beta1, beta2, eps, decay } = OPTIONS;
  kernels.adamw_numbers({
    numbers,
    steps: new Int32Array(parts).fill(step),
    first: 0,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay: decay,
  });
  return numbers;
}

/** `steps` steps with the gradients of each; the parameters and both moments afterwards. */
function train(steps: number, scale: Float32Array | null): Float32Array[] {
  const parts = SIZES.length;
  const start = [...SIZES.map((size) => randomArray(size, size)), ...SIZES, ...SIZES].map((part) =>
    typeof part === 'number' ? new Float32Array(part) : part,
  );
  return withHandles(start, (state) => {
    for (let step = 1; step <= steps; step++)
      withHandles(
        SIZES.map((size) => randomArray(size, size + step)),
        (grads) => {
          kernels.adamw_step({
            params: state.slice(0, parts),
            grads,
            exp_avg: state.slice(parts, 2 * parts),
            exp_avg_sq: state.slice(2 * parts),
            masters: [],
            grad_scale: scale,
            numbers: numbersOf(parts, step),
            first: 0,
          });
        },
      );
  });
}

/** The same by the formulas of Loshchilov and Hutter, in float64. */
function reference(steps: number, scale: number): Float64Array[] {
  const { lr, beta1, beta2, eps, decay } = OPTIONS;
  const params = SIZES.map((size) => Float64Array.from(randomArray(size, size)));
  const [first, second] = [0, 1].map(() => SIZES.map((size) => new Float64Array(size))) as [
    Float64Array[],
    Float64Array[],
  ];
  for (let step = 1; step <= steps; step++)
    for (const [t, p] of params.entries()) {
      const grad = randomArray(p.length, p.length + step);
      const [m, v] = [first[t]!, second[t]!];
      for (let i = 0; i < p.length; i++) {
        const g = grad[i]! * scale;
        m[i] = beta1 * m[i]! + (1 - beta1) * g;
        v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
        const update = m[i]! / (1 - beta1 ** step) / (Math.sqrt(v[i]! / (1 - beta2 ** step)) + eps);
        p[i] = p[i]! * (1 - lr * decay) - lr * update;
      }
    }
  return [...params, ...first, ...second];
}

onEveryIsa(() => {
  test.each([
    [1, null],
    [5, null],
    [3, 0.25],
  ])('AdamW: %i steps, gradients scaled by %p', (steps, scale) => {
    const actual = train(steps, scale === null ? null : Float32Array.of(scale));
    for (const [i, expected] of reference(steps, scale ?? 1).entries()) expectClose(actual[i]!, expected, 1e-6);
  });

  test('the numbers of an update are those of its formulas, in the rows asked for', () => {
    const numbers = new Float32Array(3 * 8).fill(7);
    kernels.adamw_numbers({
      numbers,
      steps: Int32Array.of(1, 4),
      first: 1,
      lr: 0.01,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weight_decay: 0.1,
    });
    expect(numbers.slice(0, 8)).toEqual(new Float32Array(8).fill(7));
    for (const [row, step] of [
      [1, 1],
      [2, 4],
    ] as const)
      expectClose(
        numbers.slice(8 * row, 8 * row + 8),
        [0.9, 0.1, 0.999, 0.001, 0.999, 1e-8, 0.01 / (1 - 0.9 ** step), 1 / Math.sqrt(1 - 0.999 ** step)],
        1e-7,
      );
  });

  test('scalars are gathered in order', () => {
    const y = new Float32Array(3);
    kernels.gather_scalars({ x: [Float32Array.of(3), Float32Array.of(1), Float32Array.of(2)] as never, y });
    expect(y).toEqual(Float32Array.of(3, 1, 2));
  });

  test('AdamW is bit-identical on any number of threads', () => {
    expectSameOnAnyThreadCount(() => train(2, null).flatMap((part) => Array.from(part.slice(-1000))));
  });

  const norm = (grads: Float32Array[], maxNorm: number): { norm: number; scale: number } => {
    const [total, scale] = [new Float32Array(1), new Float32Array(1)];
    withHandles(grads, (handles) => kernels.grad_norm({ grads: handles, norm: total, scale, max_norm: maxNorm }));
    return { norm: total[0]!, scale: scale[0]! };
  };

  test('gradient norm and clipping factor', () => {
    const grads = SIZES.map((size) => randomArray(size, size));
    const expected = Math.sqrt(grads.reduce((total, g) => g.reduce((sum, value) => sum + value * value, total), 0));
    for (const maxNorm of [1, 1e6, 0]) {
      const actual = norm(grads, maxNorm);
      expectClose([actual.norm / expected], [1], 1e-7);
      expectClose([actual.scale], [maxNorm === 0 ? 1 : Math.min(1, maxNorm / (expected + 1e-6))], 1e-7);
    }
    expect(norm([], 1)).toEqual({ norm: 0, scale: 1 });
  });

  test('squares neither overflow nor vanish', () => {
    expectClose([norm([new Float32Array(4).fill(1e30)], 1).norm / 2e30], [1], 1e-6);
    expectClose([norm([new Float32Array(4).fill(1e-30)], 1).norm / 2e-30], [1], 1e-6);
  });

  test('a norm that float32 does not hold, or has no room for squares of, counts as infinite', () => {
    for (const [value, maxNorm] of [
      [3e38, 1],
      [1e38, 1],
      [1e30, 1e20],
      [1e19, 0],
    ] as const)
      expect(norm([Float32Array.of(value, value)], maxNorm)).toEqual({
        norm: Number.POSITIVE_INFINITY,
        scale: Number.NaN,
      });
    expect(norm([Float32Array.of(1e18, 1e18)], 0).scale).toBe(1);
  });

  test('a gradient that is not finite shows in the norm, and in the scale that stops the update', () => {
    for (const [value, maxNorm] of [
      [Number.NaN, 1],
      [Number.POSITIVE_INFINITY, 1],
      [Number.NaN, 0],
      [Number.POSITIVE_INFINITY, 0],
    ] as const)
      expect(norm([Float32Array.of(1, value)], maxNorm)).toEqual({ norm: value, scale: Number.NaN });
  });

  test('nothing is updated when the scale is not finite', () => {
    const values = [Float32Array.of(1, 2), Float32Array.of(3, 4), Float32Array.of(5, 6), Float32Array.of(7, 8)];
    const after = withHandles(values, (handles) => {
      const [p, g, m, v] = handles.map((handle) => [handle]);
      kernels.adamw_step({
        params: p!,
        grads: g!,
        exp_avg: m!,
        exp_avg_sq: v!,
        masters: [],
        grad_scale: Float32Array.of(Number.NaN),
        numbers: numbersOf(1, 1),
        first: 0,
      });
    });
    expect(after).toEqual(values);
  });

  test('the norm is bit-identical on any number of threads', () => {
    const grads = SIZES.map((size) => randomArray(size, size + 1));
    expectSameOnAnyThreadCount(() => [norm(grads, 1).norm]);
  });
});
