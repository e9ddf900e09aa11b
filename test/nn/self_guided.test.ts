import {
  add,
  Generator,
  linear,
  memoryStats,
  noGrad,
  OptionError,
  scale,
  sum,
  type Tensor,
  tensor,
  tidy,
} from '../../lib';
import { createLinear, Guidance, Linear, releaseGuides, SelfGuided, type Structure } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { relativeError } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';
import { SMALL, STRUCTURED } from '../support/structures';

beforeEach(() => allocatedWithoutGarbage());

const build = (structure: Structure, guidance: Guidance) =>
  new SelfGuided(
    createLinear(structure, { inFeatures: 12, outFeatures: 18, ...SMALL[structure], generator: new Generator(3) }),
    guidance,
  );
const input = () => tensor(new TestRandom(4).array(5 * 12), [5, 12]);
const run = (layer: SelfGuided, x: Tensor) => noGrad(() => layer.forward(x)).toArray();
const at = (steps: number, step: number, form: 'mixed' | 'published' | 'unbiased', minProbability = 0) => {
  const guidance = new Guidance({ steps, form, minProbability });
  for (let i = 0; i < step; i++) guidance.advance();
  return guidance;
};

test('alpha follows half a cosine, or a line, from 1 to 0', () => {
  const alphas = (schedule: 'cosine' | 'linear') => {
    const guidance = new Guidance({ steps: 4, schedule });
    return Array.from({ length: 6 }, () => {
      const { alpha } = guidance;
      guidance.advance();
      return alpha;
    });
  };
  expect(alphas('linear')).toEqual([1, 0.75, 0.5, 0.25, 0, 0]);
  const half = Math.SQRT1_2 / 2;
  expect(alphas('cosine')).toEqual([1, 0.5 + half, 0.5, 0.5 - half, 0, 0].map((alpha) => expect.closeTo(alpha, 12)));
});

describe.each(STRUCTURED)('%s', (structure) => {
  test.each([0, 3, 7])('at the start the function is the layer’s, at step %i of the schedule', (step) => {
    const layer = build(structure, at(10, step, 'mixed'));
    const x = input();
    expect(relativeError(run(layer, x), noGrad(() => layer.layer.forward(x)).data)).toBeLessThan(1e-5);
  });

  test('the mix is alpha of the guide and the rest of the factors, with gradients for both', () => {
    const layer = build(structure, at(4, 1, 'mixed'));
    const { alpha } = layer.guidance;
    layer.guide!.data.set(new TestRandom(9).array(216));
    const x = input();
    const expected = noGrad(() =>
      add(
        scale(linear(x, layer.guide!), alpha),
        add(scale(linear(x, layer.layer.merge()), 1 - alpha), layer.layer.bias!),
      ),
    );
    expect(relativeError(run(layer, x), expected.data)).toBeLessThan(1e-5);
    expect(relativeError(linear(x, layer.merge(), layer.bias).data, expected.data)).toBeLessThan(1e-5);
    sum(layer.forward(x)).backward();
    for (const [name, parameter] of layer.namedParameters())
      expect([name, parameter.grad !== null]).toEqual([name, true]);
  });

  test('after release it is the plain layer, its memory is back, and the optimizer has forgotten the guide', () => {
    const layer = build(structure, at(2, 0, 'mixed'));
    const optimizer = new AdamW(layer.namedParameters());
    const x = input();
    tidy(() => sum(layer.forward(x)).backward());
    optimizer.step();
    const { allocated } = memoryStats();
    const guideBytes = layer.guide!.size * 4;
    optimizer.remove(releaseGuides(layer));
    // The guide, its gradient and both moments.
    expect(allocated - memoryStats().allocated).toBeGreaterThanOrEqual(4 * guideBytes);
    expect(layer.guide).toBeNull();
    expect([...layer.namedParameters().keys()]).toEqual(['v', 'u', 'bias']);
    expect([...optimizer.stateDict().tensors.keys()].some((name) => name.includes('guide'))).toBe(false);
    expect(run(layer, x)).toEqual(noGrad(() => layer.layer.forward(x)).toArray());
    expect(releaseGuides(layer)).toEqual([]);
  });
});

describe('stochastic forms', () => {
  const mean = (guidance: Guidance, draws: number) => {
    let guide = 0;
    let calls = 0;
    for (let i = 0; i < draws; i++) {
      const scales = guidance.scales(true);
      guide += scales.guideScale / draws;
      calls += Number(scales.guideScale > 0) / draws;
      expect(scales.guideScale + scales.factorScale).toBeCloseTo(1, 12);
    }
    return { guide, calls };
  };

  test('published: the guide is computed with probability alpha, and its expected weight is alpha squared', () => {
    const { guide, calls } = mean(at(3, 1, 'published'), 20_000);
    expect(calls).toBeCloseTo(0.75, 1);
    expect(guide).toBeCloseTo(0.75 ** 2, 1);
  });

  test.each([0, 0.9])('unbiased with a probability of at least %d: the expected weight is alpha', (minProbability) => {
    const { guide, calls } = mean(at(3, 1, 'unbiased', minProbability), 20_000);
    expect(guide).toBeCloseTo(0.75, 1);
    expect(calls).toBeCloseTo(Math.max(0.75, minProbability), 1);
  });

  test.each(['published', 'unbiased'] as const)('%s: evaluation never draws and takes the mix', (form) => {
    const layer = build('lowrank', at(3, 1, form)).eval();
    layer.guide!.data.set(new TestRandom(9).array(216));
    const state = layer.guidance.state();
    const x = input();
    const first = run(layer, x);
    expect(run(layer, x)).toEqual(first);
    expect(layer.guidance.state()).toEqual(state);
    const mixed = build('lowrank', at(3, 1, 'mixed'));
    mixed.guide!.data.set(layer.guide!.data);
    expect(run(mixed, x)).toEqual(first);
  });

  test('a restored state draws on as before', () => {
    const guidance = at(10, 4, 'published');
    for (let i = 0; i < 5; i++) guidance.scales(true);
    const copy = new Guidance({ steps: 10, form: 'published' });
    copy.restore(guidance.state());
    const draws = (g: Guidance) => Array.from({ length: 20 }, () => g.scales(true).guideScale);
    expect(draws(copy)).toEqual(draws(guidance));
  });
});

test('options that make no sense are refused', () => {
  expect(() => new Guidance({ steps: 0 })).toThrow(OptionError);
  expect(() => new Guidance({ steps: Number.NaN })).toThrow(OptionError);
  expect(() => new Guidance({ steps: 3, minProbability: 2 })).toThrow(OptionError);
  expect(() => new SelfGuided(new Linear({ inFeatures: 2, outFeatures: 2 }), new Guidance({ steps: 3 }))).toThrow(
    'a structured layer, got',
  );
});
