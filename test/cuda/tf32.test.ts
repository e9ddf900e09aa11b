/** TF32 by choice: products of float32 matrices on tensor cores, off by default. */
import {
  availableDevices,
  blockShuffleLinear,
  DeviceError,
  getCudaTf32,
  linear,
  lowRankLinear,
  matmul,
  setCudaTf32,
  type Tensor,
  tensor,
  tidy,
} from '../../lib';
import { relativeError } from '../support/check_op';
import { TestRandom } from '../support/random';

type Run = (...inputs: Tensor[]) => Tensor;

/** Result and gradients, on `device`. */
function compute(run: Run, shapes: readonly (readonly number[])[], device: 'cpu' | 'cuda'): Float32Array[] {
  const random = new TestRandom(3);
  const draw = (shape: readonly number[]) => random.array(shape.reduce((a, b) => a * b, 1));
  return tidy(() => {
    const inputs = shapes.map((shape) => tensor(draw(shape), shape, { device, requiresGrad: true }));
    const y = run(...inputs);
    y.backward(tensor(draw(y.shape), y.shape, { device }));
    const gradients = inputs.map((input) => {
      const values = Float32Array.from(input.grad!.toArray());
      input.grad!.dispose();
      return values;
    });
    return [Float32Array.from(y.toArray()), ...gradients];
  });
}

/** A Bᵀ in float64. */
function product(a: Float32Array, b: Float32Array, m: number, n: number, k: number): Float64Array {
  return Float64Array.from({ length: m * n }, (_, at) => {
    let sum = 0;
    for (let i = 0; i < k; i++) sum += a[Math.floor(at / n) * k + i]! * b[(at % n) * k + i]!;
    return sum;
  });
}

const transposed = (a: Float32Array, rows: number, columns: number) =>
  Float32Array.from(a, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)]!);

const withCuda = () => {
  const before = getCudaTf32();
  afterEach(() => setCudaTf32(before));

  test('is off until it is asked for', () => {
    expect(before).toBe(process.env.STRUCTURED_FFN_TF32 === '1');
    setCudaTf32(true);
    expect(getCudaTf32()).toBe(true);
  });

  // Both sizes of tiles, with their tails; aligned to 16 bytes and not; sums that are split.
  test.each([
    [17, 9, 5],
    [40, 72, 64],
    [64, 64, 16],
    [65, 71, 33],
    [128, 132, 72],
    [130, 257, 20],
    [18, 20, 1040],
    [72, 68, 1031],
  ])('matmul of %i x %i results over %i terms is near float64, and not as near as without', (m, n, k) => {
    const random = new TestRandom(m + n + k);
    const [a, b] = [random.array(m * k), random.array(n * k)];
    const expected = product(a, b, m, n, k);
    for (const transposeA of [false, true])
      for (const transposeB of [false, true]) {
        const left = tensor(transposeA ? transposed(a, m, k) : a, transposeA ? [k, m] : [m, k], { device: 'cuda' });
        const right = tensor(transposeB ? b : transposed(b, n, k), transposeB ? [n, k] : [k, n], { device: 'cuda' });
        const errors = [true, false].map((allowed) => {
          setCudaTf32(allowed);
          return relativeError(matmul(left, right, { transposeA, transposeB }).toArray(), expected);
        });
        expect(errors[0]).toBeLessThan(1e-3);
        expect(errors[0]).toBeGreaterThan(1e-5);
        expect(errors[1]).toBeLessThan(1e-6);
      }
  });

  test.each<[string, Run, number[][]]>([
    ['dense', (x, w, b) => linear(x!, w!, b!, { activation: 'gelu' }), [[70, 40], [72, 40], [72]]],
    [
      'low rank',
      (x, v, u) => lowRankLinear(x!, v!, u!),
      [
        [33, 37],
        [19, 37],
        [81, 19],
      ],
    ],
    [
      'BlockShuffle',
      (x, v, u) => blockShuffleLinear(x!, v!, u!),
      [
        [130, 64],
        [4, 16, 16],
        [4, 24, 16],
      ],
    ],
  ])('a %s layer and its gradients agree with the CPU', (_, run, shapes) => {
    const expected = compute(run, shapes, 'cpu');
    setCudaTf32(true);
    compute(run, shapes, 'cuda').forEach((values, i) => {
      expect(relativeError(values, expected[i]!)).toBeLessThan(1e-3);
    });
  });
};

const withoutCuda = () => {
  test('cannot be asked for', () => expect(() => setCudaTf32(true)).toThrow(DeviceError));
};

if (availableDevices().includes('cuda')) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
