/** Steps that are left out: which ones, what they change, and that a resumed run decides as the whole one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, mul, tensor } from '../../lib';
import { DivergedError, type SkipConfig, type StepReport, type TrainConfig, Trainer } from '../../lib/train';
import { checkState } from '../../lib/train/checks';
import { checkTrainConfig } from '../../lib/train/config';
import { Skipping } from '../../lib/train/skipping';
import { CONFIG, folder, take, weightsOf } from './support';

/** A trainer whose gradients are multiplied in some steps, counted from 1. */
function withFactors(config: TrainConfig, factors: Readonly<Record<number, number>>, from?: string): Trainer {
  const onGradients: ConstructorParameters<typeof Trainer>[1] = {
    onGradients: (parameters) => {
      const factor = factors[trainer.step + 1];
      if (factor === undefined) return;
      for (const { grad } of parameters.values()) grad?.copyFrom(mul(grad, tensor([factor]).as(grad.dtype)));
    },
  };
  const trainer: Trainer = from === undefined ? new Trainer(config, onGradients) : Trainer.resume(from, onGradients);
  return trainer;
}

const skippedOf = (reports: readonly Partial<StepReport>[]): number[] =>
  reports.flatMap(({ skipped, step }) => (skipped ? [step!] : []));

describe('gradients that are not finite', () => {
  const skip: SkipConfig = { nonFinite: 2 };

  test.each<[string, TrainConfig]>([
    ['AdamW', { ...CONFIG, skip }],
    ['Muon', { ...CONFIG, skip, optimizer: { name: 'muon' } }],
    ['AdamW in bfloat16, several passes', { ...CONFIG, skip, precision: 'bfloat16', gradientAccumulation: 2 }],
  ])('are left out by %s as if the step had not been', async (_, config) => {
    using trainer = withFactors(config, { 2: Number.NaN, 3: Number.POSITIVE_INFINITY });
    await take(trainer, 1);
    const before = weightsOf(trainer);
    expect(skippedOf(await take(trainer, 2))).toEqual([2, 3]);
    expect(weightsOf(trainer)).toEqual(before);
    const rest = await take(trainer);
    expect(skippedOf(rest)).toEqual([]);
    expect(rest).toHaveLength(3);
    expect(weightsOf(trainer)).not.toEqual(before);
  });

  test('end the run when there are too many in a row', async () => {
    using trainer = withFactors({ ...CONFIG, skip }, { 2: Number.NaN, 3: Number.NaN, 4: Number.NaN });
    await take(trainer, 3);
    await expect(trainer.takeStep()).rejects.toThrow(DivergedError);
    using plain = withFactors(CONFIG, { 2: Number.NaN });
    await take(plain, 1);
    await expect(plain.takeStep()).rejects.toThrow('the norm of the gradients is NaN');
  });

  test('are counted over a stop', async () => {
    const path = join(folder, 'skipping');
    const factors = { 2: Number.NaN, 3: Number.NaN, 4: Number.NaN };
    {
      using trainer = withFactors({ ...CONFIG, skip }, factors);
      await take(trainer, 2);
      trainer.save(path);
    }
    using second = withFactors(CONFIG, factors, path);
    expect(skippedOf(await take(second, 1))).toEqual([3]);
    await expect(second.takeStep()).rejects.toThrow(DivergedError);
    const state = JSON.parse(readFileSync(join(path, 'trainer.json'), 'utf8'));
    expect(state.skipping.nonFinite).toBe(1);
    for (const skipping of [{}, { ...state.skipping, losses: ['a'] }, { ...state.skipping, nonFinite: -1 }])
      expect(() => checkState(path, { ...state, skipping })).toThrow(FormatError);
  });
});

test('gradients far from those of the latest 128 steps are left out', async () => {
  const config: TrainConfig = { ...CONFIG, steps: 135, schedule: 'constant', skip: { zScore: 20 } };
  const factors = { 100: 1e4, 131: 1e6 };
  using trainer = withFactors(config, factors);
  const path = join(folder, 'outliers');
  const first = await take(trainer, 129);
  trainer.save(path);
  const before = await take(trainer, 1);
  const weights = weightsOf(trainer);
  const [outlier] = await take(trainer, 1);
  expect(outlier).toMatchObject({ step: 131, skipped: true });
  expect(weightsOf(trainer)).toEqual(weights);
  const rest = await take(trainer);
  // Step 100 came before there were enough to compare with.
  expect(skippedOf([...first, ...before, ...rest])).toEqual([]);
  using second = withFactors(config, factors, path);
  expect(await take(second)).toEqual([...before, outlier, ...rest]);
});

test('the score is that of the window, in deviations above its mean', () => {
  const values = Array.from({ length: 128 }, (_, i) => (i % 2 === 0 ? 1 : 3)); // mean 2, deviation 1
  const after = (zScore: number, loss: number, gradNorm: number): boolean => {
    const skipping = new Skipping({ zScore });
    for (const value of values) expect(skipping.skips(value, value)).toBe(false);
    return skipping.skips(loss, gradNorm);
  };
  expect(after(3, 4.9, 2)).toBe(false);
  expect(after(3, 5.1, 2)).toBe(true);
  expect(after(3, 2, 5.1)).toBe(true);
  expect(after(3, -90, -90)).toBe(false);
  const same = new Skipping({ zScore: 1 });
  for (let i = 0; i < 200; i++) expect(same.skips(2, 2)).toBe(false);
});

test.each<[object, string]>([
  [{ nonFinite: -1 }, 'train: skip.nonFinite: expected a whole number of at least 0, got -1'],
  [{ zScore: Number.NaN }, 'train: skip.zScore: expected'],
  [{ zscore: 3 }, 'zscore: unknown option of TrainConfig.skip; did you mean zScore?'],
])('%p is refused', (skip, message) => {
  expect(() => checkTrainConfig({ ...CONFIG, skip })).toThrow(message);
});
