/** Compares an op, forward and backward, with its definition in float64, on every instruction set of the machine. */
import { availableIsas, getIsa, setIsa, type Tensor, tensor, tidy } from '../../lib';
import { TestRandom } from './random';

/** A tensor of the reference: float64, row-major. */
export interface Nd {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export interface CheckOptions {
  /** Range of the random inputs. Default: -1 .. 1. */
  low?: number;
  high?: number;
  /** Relative error (of the norm) of the result. Default: 1e-5. */
  tolerance?: number;
  /** The same for gradients. Default: 2e-5. */
  gradientTolerance?: number;
  /** Whether gradients are checked. Default: true. */
  gradients?: boolean;
  /** Step of the central differences in float64. Default: 1e-5. */
  step?: number;
  seed?: number;
}

/** ‖a − b‖ / ‖b‖, or ‖a‖ where b is zero. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(norm > 0 ? difference / norm : difference);
}

/** Runs `body` once for each instruction set, and puts the one in use back. */
export function onEveryIsa(body: (isa: string) => void): void {
  const before = getIsa();
  try {
    for (const isa of availableIsas()) {
      setIsa(isa);
      body(isa);
    }
  } finally {
    setIsa(before);
  }
}

/**
 * `op` on tensors and `reference` on Nd arrays must agree, and the op's gradients must be those of the reference,
 * found by central differences of Σ g·y in float64.
 */
export function checkOp(
  op: (...inputs: Tensor[]) => Tensor,
  reference: (...inputs: Nd[]) => Float64Array,
  shapes: readonly (readonly number[])[],
  options: CheckOptions = {},
): void {
  const { low = -1, high = 1, tolerance = 1e-5, gradientTolerance = 2e-5, gradients = true, step = 1e-5 } = options;
  const random = new TestRandom(options.seed ?? 1);
  const inputs = shapes.map((shape) => ({
    shape,
    data: random.array(
      shape.reduce((n, s) => n * s, 1),
      low,
      high,
    ),
  }));
  const exact = inputs.map(({ shape, data }) => ({ shape, data: Float64Array.from(data) }));
  const expected = reference(...exact);
  const g = random.array(expected.length);
  const expectedGradients = gradients ? exact.map((_, i) => differences(reference, exact, i, g, step)) : [];

  onEveryIsa((isa) =>
    tidy(() => {
      const tensors = inputs.map(({ shape, data }) => tensor(data, shape, { requiresGrad: gradients }));
      const y = op(...tensors);
      expect({ isa, error: relativeError(y.data, expected) < tolerance || relativeError(y.data, expected) }).toEqual({
        isa,
        error: true,
      });
      if (!gradients) return;
      y.backward(tensor(g, y.shape));
      tensors.forEach((t, i) => {
        const error = relativeError(t.grad!.data, expectedGradients[i]!);
        expect({ isa, input: i, error: error < gradientTolerance || error }).toEqual({ isa, input: i, error: true });
        t.grad!.dispose();
      });
    }),
  );
}

function differences(
  reference: (...inputs: Nd[]) => Float64Array,
  inputs: readonly Nd[],
  which: number,
  g: Float32Array,
  step: number,
): Float64Array {
  const { data } = inputs[which]!;
  const loss = () => reference(...inputs).reduce((total, y, i) => total + y * g[i]!, 0);
  return data.map((value, i) => {
    data[i] = value + step;
    const up = loss();
    data[i] = value - step;
    const down = loss();
    data[i] = value;
    return (up - down) / (2 * step);
  });
}
