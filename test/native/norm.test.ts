import { kernels } from '../../lib/kernels';
import { expectClose, expectGradient, expectSameOnAnyThreadCount, onEveryIsa, randomArray } from './support';

const EPS = 1e-5;
type Numbers = Float32Array | Float64Array;

/** Rows x [n, features] → (x − mean, or x for RMS) / √(mean square + eps) · weight + bias. */
function reference(x: Numbers, weight: Numbers, bias: Numbers | null, rms: boolean) {
  const features = weight.length;
  const n = x.length / features;
  const y = new Float64Array(x.length);
  const [mean, rstd] = [new Float64Array(n), new Float64Array(n)];
  for (let r = 0; r < n; r++) {
    const row = Array.from(x.subarray(r * features, (r + 1) * features));
    mean[r] = rms ? 0 : row.reduce((a, b) => a + b, 0) / features;
    const variance = row.reduce((a, b) => a + (b - mean[r]!) ** 2, 0) / features;
    rstd[r] = 1 / Math.sqrt(variance + EPS);
    row.forEach((value, i) => {
      y[r * features + i] = (value - mean[r]!) * rstd[r]! * weight[i]! + (bias?.[i] ?? 0);
    });
  }
  return { y, mean, rstd };
}

const SHAPES: [number, number][] = [
  [1, 1],
  [1, 2],
  [3, 5],
  [7, 16],
  [5, 37],
  [130, 129],
  [3, 768],
];

const inputs = (n: number, features: number) => ({
  x: randomArray(n * features, 1, 3).map((value) => value + 1),
  weight: randomArray(features, 2).map((value) => value + 1.5),
  bias: randomArray(features, 3),
  dy: randomArray(n * features, 4),
});

onEveryIsa(() => {
  describe.each(SHAPES)('[%i, %i]', (n, features) => {
    const { x, weight, bias, dy } = inputs(n, features);
    const [y, dx] = [new Float32Array(x.length), new Float32Array(x.length)];
    const [mean, rstd] = [new Float32Array(n), new Float32Array(n)];
    const [dweight, dbias] = [new Float32Array(features), new Float32Array(features)];
    const at = {
      x: Float64Array.from(x),
      weight: Float64Array.from(weight),
      bias: Float64Array.from(bias),
    };
    const lossWith = (rms: boolean) => (): number =>
      reference(at.x, at.weight, rms ? null : at.bias, rms).y.reduce((total, value, i) => total + value * dy[i]!, 0);
    const small = n * features < 1000; // central differences of more would take too long

    test('layer norm', () => {
      const expected = reference(x, weight, bias, false);
      kernels.layer_norm_forward({ x, weight, bias, y, mean, rstd, n, features, eps: EPS });
      expectClose(y, expected.y, 2e-6);
      expectClose(mean, expected.mean, 1e-6);
      expectClose(rstd, expected.rstd, 1e-6);
      kernels.layer_norm_backward({ dy, x, weight, mean, rstd, dx, dweight, dbias, n, features });
      if (small) expectGradient(lossWith(false), at.x, dx, 1e-4);
      if (small) expectGradient(lossWith(false), at.weight, dweight, 1e-5);
      const sums = Array.from({ length: features }, (_, i) => {
        const column = Array.from({ length: n }, (_, r) => dy[r * features + i]!);
        return column.reduce((a, b) => a + b, 0);
      });
      expectClose(dbias, sums, 3e-6);
    });

    test('layer norm without a bias', () => {
      kernels.layer_norm_forward({ x, weight, bias: null, y, mean, rstd, n, features, eps: EPS });
      expectClose(y, reference(x, weight, null, false).y, 2e-6);
    });

    test('RMS norm', () => {
      const expected = reference(x, weight, null, true);
      kernels.rms_norm_forward({ x, weight, y, rstd, n, features, eps: EPS });
      expectClose(y, expected.y, 2e-6);
      expectClose(rstd, expected.rstd, 1e-6);
      kernels.rms_norm_backward({ dy, x, weight, rstd, dx, dweight, n, features });
      if (small) expectGradient(lossWith(true), at.x, dx, 1e-4);
      if (small) expectGradient(lossWith(true), at.weight, dweight, 1e-5);
    });

    test('each gradient alone', () => {
      kernels.layer_norm_forward({ x, weight, bias, y, mean, rstd, n, features, eps: EPS });
      kernels.layer_norm_backward({ dy, x, weight, mean, rstd, dx, dweight, dbias, n, features });
      const [dxAlone, dweightAlone] = [new Float32Array(x.length), new Float32Array(features)];
      kernels.layer_norm_backward({ dy, x, weight, mean, rstd, dx: dxAlone, dweight: null, dbias: null, n, features });
      kernels.layer_norm_backward({
        dy,
        x,
        weight,
        mean,
        rstd,
        dx: null,
        dweight: dweightAlone,
        dbias: null,
        n,
        features,
      });
      expect(dxAlone).toEqual(dx);
      expect(dweightAlone).toEqual(dweight);
      kernels.rms_norm_forward({ x, weight, y, rstd, n, features, eps: EPS });
      kernels.rms_norm_backward({ dy, x, weight, rstd, dx, dweight, n, features });
      kernels.rms_norm_backward({ dy, x, weight, rstd, dx: dxAlone, dweight: null, n, features });
      kernels.rms_norm_backward({ dy, x, weight, rstd, dx: null, dweight: dweightAlone, n, features });
      expect(dxAlone).toEqual(dx);
      expect(dweightAlone).toEqual(dweight);
    });
  });

  test('a mean far from 0 costs no accuracy', () => {
    const x = randomArray(256, 5).map((value) => value + 1000);
    const [y, mean, rstd] = [new Float32Array(256), new Float32Array(1), new Float32Array(1)];
    const one = new Float32Array(256).fill(1);
    kernels.layer_norm_forward({ x, weight: one, bias: null, y, mean, rstd, n: 1, features: 256, eps: EPS });
    expectClose(y, reference(x, one, null, false).y, 1e-4);
  });

  test('bit-identical on any number of threads', () => {
    const [n, features] = [700, 129];
    const { x, weight, bias, dy } = inputs(n, features);
    expectSameOnAnyThreadCount(() => {
      const [y, dx] = [new Float32Array(x.length), new Float32Array(x.length)];
      const [mean, rstd] = [new Float32Array(n), new Float32Array(n)];
      const [dweight, dbias] = [new Float32Array(features), new Float32Array(features)];
      kernels.layer_norm_forward({ x, weight, bias, y, mean, rstd, n, features, eps: EPS });
      kernels.layer_norm_backward({ dy, x, weight, mean, rstd, dx, dweight, dbias, n, features });
      return [...y, ...dx, ...dweight, ...dbias];
    });
  });
});
