/** Compares an op, forward and backward, with its definition in float64, on every instruction set and device of the machine. */
import {
  availableDevices,
  availableIsas,
  type Device,
  type DType,
  getCudaTf32,
  getIsa,
  type Isa,
  setIsa,
  type Tensor,
  tensor,
  tidy,
} from '../../lib';
import { numel } from '../../lib/tensor';
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
  /** Type of the result where it is not that of the inputs: a loss is float32 always. */
  resultType?: DType;
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

/** What an op is run on: each instruction set of the CPU and each other device, with each element type. */
export interface Target {
  readonly name: string;
  readonly device: Device;
  readonly dtype: DType;
  /** Of the CPU. */
  readonly isa?: Isa;
}

/** STRUCTURED_FFN_TEST_DEVICE=cpu or cuda keeps to one device, STRUCTURED_FFN_TEST_ISAS=avx2,baseline to some instruction sets. */
export function targets(): Target[] {
  const only = process.env.STRUCTURED_FFN_TEST_DEVICE;
  const wanted = process.env.STRUCTURED_FFN_TEST_ISAS?.split(',') ?? availableIsas();
  const isas = availableIsas()
    .filter((isa) => wanted.includes(isa))
    .map((isa) => ({ name: isa as string, device: 'cpu' as Device, isa }));
  const others = availableDevices()
    .filter((device) => device !== 'cpu')
    .map((device) => ({ name: device, device }));
  return [...isas, ...others]
    .filter(({ device }) => only === undefined || device === only)
    .flatMap((place) =>
      (['float32', 'bfloat16'] as const).map((dtype): Target => ({ ...place, name: `${place.name} ${dtype}`, dtype })),
    );
}

/** Runs `body` on each target, and puts the instruction set in use back. */
export function onEveryTarget(body: (target: Target) => void): void {
  const before = getIsa();
  try {
    for (const target of targets()) {
      if (target.isa !== undefined) setIsa(target.isa);
      body(target);
    }
  } finally {
    setIsa(before);
  }
}

/** Runs `body` once for each instruction set of the CPU, and puts the one in use back. */
export const onEveryIsa = (body: (isa: string) => void): void =>
  onEveryTarget(({ isa, dtype }) => {
    if (isa !== undefined && dtype === 'float32') body(isa);
  });

/** Relative errors that the element type allows: the sums behind them are in float32 always. */
export const BFLOAT16 = { tolerance: 1e-2, gradientTolerance: 2e-2 };
const TF32 = { tolerance: 1e-3, gradientTolerance: 1e-3 };

function tolerancesOf({ device, dtype }: Target, options: CheckOptions): CheckOptions {
  if (dtype === 'bfloat16') return BFLOAT16;
  return device === 'cuda' && getCudaTf32() ? TF32 : options;
}

interface Expectation {
  readonly y: Float64Array;
  readonly gradients: readonly Float64Array[];
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
  const { low = -1, high = 1, gradients = true, step = 1e-5, resultType } = options;
  const random = new TestRandom(options.seed ?? 1);
  const inputs = shapes.map((shape) => ({ shape, data: random.array(numel(shape), low, high) }));
  let g: Float32Array | null = null;

  /** For inputs and a gradient rounded to `dtype`: their rounding is no error of the op. */
  const expectations = new Map<DType, Expectation>();
  const expectation = (dtype: DType): Expectation => {
    const known = expectations.get(dtype);
    if (known) return known;
    const exact = inputs.map(({ shape, data }) => ({ shape, data: Float64Array.from(rounded(data, dtype)) }));
    const y = reference(...exact);
    g ??= random.array(y.length);
    const weights = rounded(g, resultType ?? dtype);
    const all = gradients ? exact.map((_, i) => differences(reference, exact, i, weights, step)) : [];
    expectations.set(dtype, { y, gradients: all });
    return { y, gradients: all };
  };

  onEveryTarget((target) =>
    tidy(() => {
      const { name, device, dtype } = target;
      const expected = expectation(dtype);
      const { tolerance = 1e-5, gradientTolerance = 2e-5 } = tolerancesOf(target, options);
      const tensors = inputs.map(({ shape, data }) => tensor(data, shape, { device, dtype, requiresGrad: gradients }));
      const y = op(...tensors);
      expect([y.device, y.dtype]).toEqual([device, resultType ?? dtype]);
      expectError({ target: name }, y.toArray(), expected.y, tolerance);
      if (!gradients) return;
      y.backward(tensor(g!, y.shape, { device, dtype: y.dtype }));
      tensors.forEach((t, i) => {
        expectError({ target: name, input: i }, t.grad!.toArray(), expected.gradients[i]!, gradientTolerance);
        t.grad!.dispose();
      });
    }),
  );
}

const rounded = (data: Float32Array, dtype: DType): Float32Array =>
  dtype === 'float32' ? data : tidy(() => Float32Array.from(tensor(data, [data.length], { dtype }).toArray()));

function expectError(what: object, actual: ArrayLike<number>, expected: Float64Array, tolerance: number): void {
  const error = relativeError(actual, expected);
  expect({ ...what, error: error < tolerance || error }).toEqual({ ...what, error: true });
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
