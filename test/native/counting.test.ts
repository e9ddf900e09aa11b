/**
 * What the kernels spend, counted instead of timed: exactly the formula's operations, so that no product is hidden in a
 * structured layer, and no memory of the system in a steady training step.
 */
import { getIsa, getNumThreads, memoryStats, setNumThreads } from '../../lib/device';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { TransformerLM } from '../../lib/nn';
import { feedForward, linearCrossEntropy, mergeFactors, structuredLinear } from '../../lib/ops';
import { linearDims } from '../../lib/ops/linear_dims';
import { AdamW } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { tidy } from '../../lib/scope';
import { STRUCTURE_NAMES } from '../../lib/structures';
import { type Shape, type Tensor, tensor } from '../../lib/tensor';
import { smallShapes } from '../support/structures';

const generator = new Generator(5);
const leaf = (shape: Shape): Tensor => {
  const drawn = generator.normal(shape);
  drawn.requiresGrad = true;
  return drawn;
};

function flopsOf(body: () => void): number {
  const before = native.countedFlops();
  body();
  return native.countedFlops() - before;
}

const LAYERS: readonly (readonly [string, Shape | null, Shape])[] = [
  ...STRUCTURE_NAMES.map((name) => {
    const { v, u } = smallShapes(name, 24, 96);
    return [name, v, u] as const;
  }),
  ['blockshuffle with unequal blocks', [2, 9, 12], [3, 32, 6]],
];

// One token, the kernel for few rows, the limits of tiles, several tasks.
describe.each([1, 5, 33, 300])('%i tokens', (tokens) => {
  test.each(LAYERS)('%s: 2 operations per parameter and token forward, 4 backward', (_, vShape, uShape) => {
    tidy(() => {
      const [v, u, x] = [vShape && leaf(vShape), leaf(uShape), leaf([tokens, 24])];
      const { macs } = linearDims('test', vShape, uShape);
      let y: Tensor | undefined;
      expect(flopsOf(() => (y = structuredLinear(x, { v, u })))).toBe(2 * macs * tokens);
      expect(flopsOf(() => y?.backward(y))).toBe(4 * macs * tokens);
    });
  });

  test.each(LAYERS)(
    '%s with a guide: the dense product more, and none of it when its weight is 0',
    (_, vShape, uShape) => {
      if (vShape === null) return;
      tidy(() => {
        const [v, u, x, weight] = [leaf(vShape), leaf(uShape), leaf([tokens, 24]), leaf([96, 24])];
        const { macs } = linearDims('test', vShape, uShape);
        const cost = (guideScale: number, factorScale: number) => {
          let y: Tensor | undefined;
          const forward = flopsOf(
            () => (y = structuredLinear(x, { v, u, guide: { weight, guideScale, factorScale } })),
          );
          return [forward, flopsOf(() => y?.backward(y))];
        };
        const [factors, guide] = [2 * macs * tokens, 2 * 96 * 24 * tokens];
        expect(cost(0.25, 0.75)).toEqual([factors + guide, 2 * (factors + guide)]);
        expect(cost(0, 1)).toEqual([factors, 2 * factors]);
      });
    },
  );

  test('a feedforward network costs its layers', () => {
    tidy(() => {
      const fc1 = { v: leaf([6, 24]), u: leaf([96, 6]), bias: leaf([96]) };
      const fc2 = { v: leaf([6, 96]), u: leaf([24, 6]), bias: leaf([24]) };
      const x = leaf([tokens, 24]);
      const flops = 2 * tokens * 2 * 6 * (24 + 96);
      let y: Tensor | undefined;
      expect(flopsOf(() => (y = feedForward(x, fc1, fc2, 'gelu')))).toBe(flops);
      expect(flopsOf(() => y?.backward(y))).toBe(2 * flops);
    });
  });

  test('the head with its loss costs three products, and one in evaluation', () => {
    tidy(() => {
      const [x, weight] = [leaf([tokens, 24]), leaf([50, 24])];
      const targets = tensor(new Int32Array(tokens), [tokens]);
      const product = 2 * tokens * 24 * 50;
      expect(flopsOf(() => linearCrossEntropy(x, weight, targets))).toBe(3 * product);
      [x.requiresGrad, weight.requiresGrad] = [false, false];
      expect(flopsOf(() => linearCrossEntropy(x, weight, targets))).toBe(product);
    });
  });
});

test('merging costs one product of the factors', () => {
  tidy(() => {
    expect(flopsOf(() => mergeFactors(leaf([6, 24]), leaf([96, 6])))).toBe(2 * 96 * 6 * 24);
  });
});

test.each(STRUCTURE_NAMES)('a steady training step of %s asks the system for no memory', (structure) => {
  // Which scratch buffers live at once depends on how threads meet; one thread always needs the same.
  const threads = getNumThreads();
  setNumThreads(1);
  const ffn = structure === 'dense' ? { structure } : { structure, ratio: 0.32 };
  const model = new TransformerLM({ vocabSize: 40, dModel: 16, nLayers: 2, nHeads: 2, seqLen: 12, ffn });
  const optimizer = new AdamW(model.namedParameters());
  const step = () => {
    tidy(() => {
      const ids = tensor(new Int32Array(24).fill(3), [2, 12]);
      model.loss(ids, ids).backward(null, { releaseGraph: true });
    });
    optimizer.step({ lr: 1e-3, maxGradNorm: 1 });
    optimizer.zeroGrad();
  };
  for (let i = 0; i < 3; i++) step();
  const before = memoryStats().systemAllocations;
  for (let i = 0; i < 20; i++) step();
  expect(memoryStats().systemAllocations - before).toBe(0);
  optimizer.dispose();
  model.dispose();
  setNumThreads(threads);
});

test('the probe of the peak counts twice as much with pairs of bfloat16, where the processor multiplies them', () => {
  tidy(() => {
    const out = tensor([0, 0, 0], [3]);
    const probe = (pairs: number) => flopsOf(() => kernels.probe_flops({ out, iterations: 10, pairs }));
    const single = probe(0);
    // At least 12 chains of 4 lanes.
    expect(single).toBeGreaterThanOrEqual(3 * 10 * 12 * 4 * 2);
    expect(probe(1)).toBe(getIsa() === 'avx512bf16' ? 2 * single : single);
    expect(Math.min(...out.data)).toBeGreaterThan(1);
  });
});
