/** Clipping outside of optimizers, and groups by rule. */
import { add, GradientError, memoryStats, OptionError, parameter, sum, type Tensor, tensor } from '../../lib';
import { Embedding, Linear, TransformerLM } from '../../lib/nn';
import { AdamW, clipGradNorm, GradientClip, parameterGroups } from '../../lib/optim';
import { tidy } from '../../lib/scope';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';

beforeEach(() => allocatedWithoutGarbage());

const gradients = (...values: number[][]): Tensor[] =>
  values.map((each) => {
    const p = parameter(tensor(each.map(() => 1)));
    p.grad = tensor(each);
    return p;
  });
const gradientsOf = (parameters: readonly Tensor[]) => parameters.map(({ grad }) => grad && [...grad.toArray()]);

describe('clipGradNorm', () => {
  test('scales gradients to the norm, and returns the one before', () => {
    const all = [...gradients([3], [0, 4]), parameter(tensor([1]))];
    expect(clipGradNorm(all, 1).item()).toBe(5);
    const close = (value: number) => expect.closeTo(value, 6);
    expect(gradientsOf(all)).toEqual([[close(0.6)], [close(0), close(0.8)], null]);
  });

  test('leaves smaller ones, and all at 0, to the bit', () => {
    for (const maxNorm of [0, 5.1]) {
      const all = gradients([3], [0, 4]);
      expect(clipGradNorm(all, maxNorm).item()).toBe(5);
      expect(gradientsOf(all)).toEqual([[3], [0, 4]]);
    }
    expect(clipGradNorm([], 1).item()).toBe(0);
  });

  test('makes NaN of all where one is not finite, and no step is taken', () => {
    const all = gradients([3], [Number.POSITIVE_INFINITY]);
    expect(clipGradNorm(all, 1).item()).toBe(Number.POSITIVE_INFINITY);
    expect(gradientsOf(all)).toEqual([[Number.NaN], [Number.NaN]]);
    expect(new AdamW(all).step().gradNorm).toBeNaN();
    expect(all.map((p) => p.item())).toEqual([1, 1]);
  });

  test('takes a finite norm beyond float32 for an infinite one', () => {
    const all = gradients([3e38], [3e38]);
    expect(clipGradNorm(all, 1).item()).toBe(Number.POSITIVE_INFINITY);
    expect(gradientsOf(all)).toEqual([[Number.NaN], [Number.NaN]]);
  });

  test('scales a gradient that two parameters share once for each, and not what the caller gave', () => {
    const [a, b] = [parameter(tensor([1, 1])), parameter(tensor([2, 2]))];
    const given = tensor([3, 4]);
    add(a, b).backward(given);
    clipGradNorm([a, b], Math.SQRT2);
    for (const { grad } of [a, b]) expect([...grad!.toArray()]).toEqual([0.6, 0.8].map((x) => expect.closeTo(x, 5)));
    expect([...given.data]).toEqual([3, 4]);
  });

  test('keeps nothing', () => {
    const all = gradients([3], [0, 4]);
    const { allocated } = memoryStats();
    clipGradNorm(all, 1).dispose();
    expect(memoryStats().allocated).toBe(allocated);
  });

  test('refuses what makes no sense', () => {
    expect(() => clipGradNorm([], -1)).toThrow(OptionError);
    expect(() => clipGradNorm([1] as never, 1)).toThrow('clipGradNorm: parameters');
  });
});

describe('a clip that is measured outside', () => {
  test('gives the step that an optimizer clips by itself', () => {
    const [inside, outside] = [gradients([3, 1], [4]), gradients([3, 1], [4])];
    const optimizers = [inside, outside].map((all) => new AdamW(all, { lr: 0.1 }));
    using clip = new GradientClip();
    for (let i = 0; i < 3; i++) {
      const expected = optimizers[0]!.step({ maxGradNorm: 0.5 });
      const actual = optimizers[1]!.step({ clip: clip.measure(outside, 0.5) });
      expect(actual.gradNorm).toBe(expected.gradNorm);
    }
    expect(outside.map(({ data }) => data)).toEqual(inside.map(({ data }) => data));
    expect(clip.scale.item()).toBeCloseTo(0.5 / Math.sqrt(26), 6);
  });

  test('counts the steps of which nobody reads the norm', () => {
    const [p] = gradients([1]) as [Tensor];
    const optimizer = new AdamW([p]);
    using clip = new GradientClip();
    const results = [1, Number.NaN, 2].map((value) => {
      p.grad = tensor([value]);
      return optimizer.step({ clip: clip.measure([p]) });
    });
    expect(optimizer.stepCount).toBe(2);
    expect(optimizer.stateDict().tensors.get('0.step')!.item()).toBe(2);
    expect(results.map(({ gradNorm }) => gradNorm)).toEqual([1, Number.NaN, 2]);
  });

  test('serves a step in two halves', () => {
    const [inside, outside] = [gradients([3, 1], [4]), gradients([3, 1], [4])];
    new AdamW(inside, { lr: 0.1 }).step({ maxGradNorm: 0.5 });
    const optimizer = new AdamW(outside, { lr: 0.1 });
    using clip = new GradientClip();
    const result = optimizer.prepareStep({ clip: clip.begin() });
    clip.launch(outside, 0.5);
    optimizer.applyStep();
    expect([result.gradNorm, optimizer.stepCount]).toEqual([Math.fround(Math.sqrt(26)), 1]);
    expect(outside.map(({ data }) => data)).toEqual(inside.map(({ data }) => data));
  });

  test('must have been measured, and goes alone', () => {
    const all = gradients([1]);
    using clip = new GradientClip();
    expect(() => new AdamW(all).step({ clip })).toThrow(GradientError);
    clip.measure(all);
    expect(() => new AdamW(all).step({ clip, maxGradNorm: 1 })).toThrow('AdamW.step: maxGradNorm: expected none');
    expect(() => clip.launch(all, Number.NaN)).toThrow(OptionError);
  });
});

describe('groups by rule', () => {
  const CONFIG = { vocabSize: 11, dModel: 8, nLayers: 1, nHeads: 2, seqLen: 6 };

  test('know what a parameter is', () => {
    const model = new TransformerLM({ ...CONFIG, tieEmbeddings: false, learnedPositions: true });
    const groups = parameterGroups(model, ({ kind }) => ({ kind }));
    const names = (kind: string) => [...groups.find((group) => group.kind === kind)!.parameters.keys()];
    expect(groups).toHaveLength(4);
    expect(names('embedding')).toEqual(['embedding.weight', 'positions.weight']);
    expect(names('head')).toEqual(['head.weight']);
    expect(names('matrix')).toEqual(
      ['attention.qkv', 'attention.out', 'ffn.fc1', 'ffn.fc2'].map((layer) => `blocks.0.${layer}.weight`),
    );
    expect(names('vector').every((name) => /norm|bias/.test(name))).toBe(true);
    expect(parameterGroups(model.namedParameters(), ({ kind }) => ({ kind }))).toEqual(groups);
    expect(parameterGroups(new Embedding(3, 4), ({ kind }) => ({ kind }))[0]!.kind).toBe('embedding');
    expect(parameterGroups(model.parameters(), ({ kind }) => ({ kind })).map(({ kind }) => kind)).not.toContain('head');
  });

  test('are what AdamW takes', () => {
    const layer = new Linear({ inFeatures: 2, outFeatures: 3 });
    layer.bias!.data.fill(1);
    const before = layer.u.toArray();
    const groups = parameterGroups(layer, ({ kind }) => (kind === 'vector' ? { weightDecay: 0 } : { lrScale: 0 }));
    const optimizer = new AdamW(groups, { lr: 0.1 });
    tidy(() => sum(layer.forward(tensor([[1, 1]]))).backward());
    optimizer.step();
    expect([...layer.bias!.data]).toEqual([0, 1, 2].map(() => expect.closeTo(0.9, 6)));
    expect(layer.u.toArray()).toEqual(before);
  });

  test.each<['all' | 'matrices', string[]]>([
    ['all', ['embedding.weight', 'head.weight', 'm.weight', 'm.bias']],
    ['matrices', ['head.weight', 'm.weight']],
  ])('decay of %s', (decay, expected) => {
    const random = new TestRandom(1);
    const make = (shape: number[]) => parameter(tensor(random.array(6), shape));
    const all = new Map(['embedding.weight', 'head.weight', 'm.weight'].map((name) => [name, make([2, 3])] as const));
    all.set('m.bias', make([6]));
    for (const p of all.values()) p.grad = tensor(new Float32Array(6), p.shape);
    const before = new Map([...all].map(([name, p]) => [name, p.toArray()]));
    new AdamW(all, { decay, weightDecay: 0.5 }).step({ lr: 0.1 });
    const changed = [...all].filter(([name, p]) => p.data.some((x, i) => x !== before.get(name)![i]));
    expect(changed.map(([name]) => name)).toEqual(expected);
  });
});
