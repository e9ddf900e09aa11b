/** The head of a language model on a CUDA device against float64, with memory for all rows at once and for a part of them. */
import { availableDevices, type DType, linearCrossEntropy, memoryStats, setMemoryLimit, tensor, tidy } from '../../lib';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';

const IGNORE = -100;
const FEATURES = 8;

interface Result {
  readonly loss: number;
  readonly dx: ArrayLike<number>;
  readonly dweight: ArrayLike<number>;
}

/** The definition, in float64. */
function reference(x: ArrayLike<number>, weight: ArrayLike<number>, targets: readonly number[]): Result {
  const classes = weight.length / FEATURES;
  const counted = targets.filter((target) => target !== IGNORE).length;
  const [dx, dweight] = [new Float64Array(x.length), new Float64Array(weight.length)];
  let loss = 0;
  targets.forEach((target, i) => {
    if (target === IGNORE) return;
    const logits = Float64Array.from({ length: classes }, (_, c) => {
      let sum = 0;
      for (let f = 0; f < FEATURES; f++) sum += x[i * FEATURES + f]! * weight[c * FEATURES + f]!;
      return sum;
    });
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    loss += (Math.log(total) - logits[target]!) / counted;
    logits.forEach((logit, c) => {
      const gradient = (Math.exp(logit) / total - Number(c === target)) / counted;
      for (let f = 0; f < FEATURES; f++) {
        dx[i * FEATURES + f]! += gradient * weight[c * FEATURES + f]!;
        dweight[c * FEATURES + f]! += gradient * x[i * FEATURES + f]!;
      }
    });
  });
  return { loss, dx, dweight };
}

const withCuda = () => {
  // Memory that is full of earlier tests' garbage has gaps, which a low limit does not let be used.
  beforeEach(() => allocatedWithoutGarbage('cuda'));

  /** On the device, with as many bytes `free` as the head may take together with its gradients. */
  const run = (dtype: DType, x: ArrayLike<number>, weight: ArrayLike<number>, targets: number[], free: number) =>
    tidy((): Result => {
      const on = { device: 'cuda', dtype, requiresGrad: true } as const;
      const inputs = [x, weight].map((data) => tensor(Float32Array.from(data), [data.length / FEATURES, FEATURES], on));
      const ids = tensor(Int32Array.from(targets), [targets.length], { device: 'cuda' });
      const { limit, allocated } = memoryStats('cuda');
      try {
        setMemoryLimit(Math.min(limit, allocated + free), 'cuda');
        const loss = linearCrossEntropy(inputs[0]!, inputs[1]!, ids);
        loss.backward();
        const [dx, dweight] = inputs.map(({ grad }) => {
          const values = grad!.toArray();
          grad!.dispose();
          return values;
        });
        return { loss: loss.item(), dx: dx!, dweight: dweight! };
      } finally {
        setMemoryLimit(limit, 'cuda');
      }
    });

  // By native/cuda/head_rows.h, whose unit test has these figures: of 600 rows and 300 classes in bfloat16, with 900,000
  // bytes, chunks of 128 rows in groups of 384; with 400,000, which is less than twice what one chunk takes, single chunks.
  const ENOUGH = Number.MAX_SAFE_INTEGER;
  test.each<[number, number, number]>([
    [600, 300, ENOUGH],
    [600, 300, 900_000],
    [600, 300, 400_000],
    [384, 300, 400_000],
    [257, 301, 400_000],
    [129, 37, 60_000],
    [128, 37, 60_000],
    [5, 1, ENOUGH],
    [1, 40, ENOUGH],
    [0, 40, ENOUGH],
  ])('%i rows, %i classes, %i bytes free', (rows, classes, free) => {
    const random = new TestRandom(rows + classes);
    const drawn = [rows, classes].map((count) => random.array(count * FEATURES, -2, 2));
    const targets = Array.from({ length: rows }, (_, i) => (i % 11 === 3 ? IGNORE : (i * 7) % classes));
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const [x, weight] = drawn.map((data) => tensor(data, undefined, { dtype }).toArray());
      const expected = reference(x!, weight!, targets);
      const actual = run(dtype, x!, weight!, targets, free);
      const [tolerance, ofGradients] = dtype === 'float32' ? [1e-6, 1e-5] : [1e-5, 1e-2];
      expect(Math.abs(actual.loss - expected.loss)).toBeLessThanOrEqual(tolerance * expected.loss);
      expect(relativeError(actual.dx, expected.dx)).toBeLessThan(ofGradients);
      expect(relativeError(actual.dweight, expected.dweight)).toBeLessThan(ofGradients);
      expect(run(dtype, x!, weight!, targets, free)).toEqual(actual);
    }
  });

  test.each(['float32', 'bfloat16'] as const)('rows that are all ignored, in several groups of %s', (dtype) => {
    const random = new TestRandom(1);
    const result = run(
      dtype,
      random.array(300 * FEATURES),
      random.array(50 * FEATURES),
      Array(300).fill(IGNORE),
      90_000,
    );
    expect(result.loss).toBe(0);
    for (const gradient of [result.dx, result.dweight]) expect(Array.from(gradient).every((g) => g === 0)).toBe(true);
  });
};

if (availableDevices().includes('cuda')) describe('with CUDA', withCuda);
else test('there is no CUDA device', () => expect(availableDevices()).toEqual(['cpu']));
