/** What a run computes, against counts of its layers and against the draws of its guides. */
import { OptionError } from '../../lib';
import { countFlops, countParameters, Guidance, STRUCTURE_NAMES, TransformerLM } from '../../lib/nn';
import { parameterGroups } from '../../lib/optim';
import {
  type GuidanceConfig,
  planSteps,
  runFlops,
  stepsForFlops,
  stepsForTokens,
  type TrainConfig,
} from '../../lib/train';
import { CONFIG } from './support';

const { model } = CONFIG;
const TOKENS = 3 * 16;

test.each(STRUCTURE_NAMES)('%s: operations per token are those of the layers', (structure) => {
  const ffn = structure === 'dense' ? { structure } : { structure, ratio: 0.5 };
  for (const variant of [{}, { activation: 'swiglu', nKvHeads: 1, firstFfnDense: false }] as const) {
    const made = new TransformerLM({ ...model, ...variant, ffn }, { init: 'normal' });
    const flops = countFlops({ ...model, ...variant, ffn }, 7);
    const sum = (of: (block: (typeof made.blocks)[number]) => number) => made.blocks.map(of).reduce((a, b) => a + b);
    expect(flops.ffn).toBe(sum((block) => block.ffn.flopsPerToken));
    expect(flops.attention).toBe(sum((block) => block.attention.flopsPerToken(7)));
    expect(flops.head).toBe(2 * model.vocabSize * model.dModel);
    expect(flops.total).toBe(flops.ffn + flops.attention + flops.head);
    expect(made.flopsPerToken(7)).toEqual(flops);
    const guided = new TransformerLM(
      { ...model, ...variant, ffn },
      { init: 'normal', guidance: new Guidance({ steps: 1 }) },
    );
    expect(flops.guides).toBe(2 * (guided.numParameters() - made.numParameters()));
    made.dispose();
    guided.dispose();
  }
});

test.each<GuidanceConfig>([
  {},
  { form: 'unbiased', part: 0.7 },
  { schedule: 'linear', part: 1 },
  { form: 'mixed' },
  { protocol: 'fixed-flop', part: 0.4 },
])('the guide counts as often as it is drawn: %p', (guidance) => {
  const config: TrainConfig = { ...CONFIG, steps: 40, guidance };
  const { guided } = planSteps(config);
  const { form, schedule } = guidance;
  const draws = new Guidance({ steps: guided, form, schedule });
  const each = 3 * countFlops(model).guides * TOKENS;
  const expected = [0];
  for (let step = 0; step < guided; step++, draws.advance())
    expected.push(expected.at(-1)! + each * (form === 'mixed' ? 1 : draws.alpha));
  const upTo = (step: number) => expected[Math.min(step, guided)]!;
  for (const [from, to] of [
    [0, undefined],
    [0, 3],
    [2, 9],
    [5, 5],
    [9, 40],
    [0, 1],
  ] as const)
    expect(runFlops(config, from, to).guide).toBeCloseTo(upTo(to ?? 56) - upTo(from), 3);
});

test('the parts of a run add up, over any pieces of it', () => {
  const config: TrainConfig = { ...CONFIG, guidance: { part: 0.5 }, gradientAccumulation: 2 };
  const whole = runFlops(config);
  expect(whole.total).toBe(whole.model + whole.guide + whole.optimizer);
  expect(whole.model).toBe(3 * countFlops(model).total * 2 * TOKENS * 6);
  const pieces = [runFlops(config, 0, 2), runFlops(config, 2, 4), runFlops(config, 4)];
  for (const part of ['model', 'guide', 'optimizer', 'total'] as const)
    expect(pieces.reduce((sum, piece) => sum + piece[part], 0)).toBeCloseTo(whole[part], 3);
  expect(() => runFlops(config, 3, 2)).toThrow(OptionError);
});

test('the optimizer counts its values, and Muon its products', () => {
  const made = new TransformerLM(model, { init: 'normal' });
  const adamw = runFlops({ ...CONFIG, steps: 1 }).optimizer;
  expect(adamw).toBe(15 * made.numParameters());
  const { total, guides } = countParameters(model);
  const guided = runFlops({ ...CONFIG, guidance: { part: 0.5 } }).optimizer;
  expect(guided).toBe(15 * (6 * total + 3 * guides));
  const shapes: (readonly number[])[] = [];
  parameterGroups(made, ({ kind, parameter }) => {
    if (kind === 'matrix') shapes.push(parameter.shape);
    return {};
  });
  let [values, products] = [0, 0];
  for (const shape of shapes) {
    const [rows, columns] = shape.slice(-2) as [number, number];
    const [m, n, count] = [Math.min(rows, columns), Math.max(rows, columns), shape.length === 3 ? shape[0]! : 1];
    values += count * m * n;
    products += count * 3 * (2 * (m * m * n + m * m * m + m * m * n));
  }
  const muon = runFlops({ ...CONFIG, steps: 1, optimizer: { name: 'muon', iterations: 3 } }).optimizer;
  expect(muon).toBe(15 * (made.numParameters() - values) + 12 * values + products);
  made.dispose();
});

test('a budget gives the longest run that fits', () => {
  const configs: TrainConfig[] = [
    CONFIG,
    { ...CONFIG, guidance: { part: 0.5 } },
    { ...CONFIG, guidance: { protocol: 'fixed-flop', part: 0.3 }, gradientAccumulation: 3 },
  ];
  for (const config of configs)
    for (const target of [1e9, 3.7e10]) {
      const steps = stepsForFlops(config, target);
      expect(runFlops({ ...config, steps }).total).toBeLessThanOrEqual(target);
      expect(runFlops({ ...config, steps: steps + 1 }).total).toBeGreaterThan(target);
      const each = TOKENS * (config.gradientAccumulation ?? 1);
      const many = stepsForTokens(config, target / 1e5);
      expect(planSteps({ ...config, steps: many }).total * each).toBeLessThanOrEqual(target / 1e5);
      expect(planSteps({ ...config, steps: many + 1 }).total * each).toBeGreaterThan(target / 1e5);
    }
  expect(stepsForFlops(CONFIG, 1)).toBe(1);
  expect(stepsForTokens(CONFIG, 1)).toBe(1);
  expect(Number.isSafeInteger(stepsForFlops({ ...CONFIG, guidance: {} }, 1e40))).toBe(true);
});
