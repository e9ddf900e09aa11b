import { DisposedError, DTypeError, OptionError, ones, parameter, StateDictError, tensor } from '../../lib';
import { Linear } from '../../lib/nn';
import {
  AdamW,
  constantSchedule,
  cosineSchedule,
  GradientClip,
  linearSchedule,
  Muon,
  wsdSchedule,
} from '../../lib/optim';
import { relativeError } from '../support/check_op';
import { TestRandom } from '../support/random';

const random = new TestRandom(1);

function parameters(): Map<string, ReturnType<typeof tensor>> {
  const source = new TestRandom(1);
  return new Map(
    [[3, 5], [1], [70]].map((shape, i) => [
      `p${i}`,
      parameter(tensor(source.array(shape.reduce((n, s) => n * s, 1)), shape)),
    ]),
  );
}

/** Loshchilov and Hutter 2019, algorithm 2, in float64. */
class Reference {
  readonly m: number[];
  readonly v: number[];
  constructor(readonly p: number[]) {
    this.m = p.map(() => 0);
    this.v = p.map(() => 0);
  }
  step(g: number[], t: number, lr: number, b1: number, b2: number, eps: number, decay: number): void {
    g.forEach((gradient, i) => {
      this.p[i]! *= 1 - lr * decay;
      this.m[i] = b1 * this.m[i]! + (1 - b1) * gradient;
      this.v[i] = b2 * this.v[i]! + (1 - b2) * gradient * gradient;
      this.p[i]! -= (lr * (this.m[i]! / (1 - b1 ** t))) / (Math.sqrt(this.v[i]! / (1 - b2 ** t)) + eps);
    });
  }
}

test.each([0, 0.5])('AdamW matches its definition over steps, clipped to %d', (maxGradNorm) => {
  const all = parameters();
  const optimizer = new AdamW(all, { betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.2 });
  const references = new Map([...all].map(([name, { data }]) => [name, new Reference(Array.from(data))]));
  for (let t = 1; t <= 5; t++) {
    const gradients = new Map([...all].map(([name, { size }]) => [name, random.array(size)]));
    for (const [name, p] of all) p.grad = tensor(gradients.get(name)!, p.shape);
    const norm = Math.sqrt([...gradients.values()].reduce((sum, g) => sum + g.reduce((s, x) => s + x * x, 0), 0));
    const { gradNorm } = optimizer.step({ lr: 0.01 * t, maxGradNorm });
    expect(gradNorm).toBeCloseTo(norm, 4);
    const factor = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1;
    for (const [name, reference] of references)
      reference.step(
        Array.from(gradients.get(name)!, (g) => g * factor),
        t,
        0.01 * t,
        0.8,
        0.95,
        1e-6,
        0.2,
      );
    optimizer.zeroGrad();
  }
  for (const [name, { data }] of all) expect(relativeError(data, references.get(name)!.p)).toBeLessThan(1e-5);
  expect(optimizer.stepCount).toBe(5);
});

test('a loaded state goes on to the last bit', () => {
  const run = (between: (optimizer: AdamW, all: ReturnType<typeof parameters>) => AdamW) => {
    const source = new TestRandom(5);
    const all = parameters();
    let optimizer = new AdamW(all);
    for (let i = 0; i < 4; i++) {
      if (i === 2) optimizer = between(optimizer, all);
      for (const p of all.values()) p.grad = tensor(source.array(p.size), p.shape);
      optimizer.step({ lr: 0.01 });
      optimizer.zeroGrad();
    }
    return [...all.values()].map((p) => p.toArray());
  };
  const straight = run((optimizer) => optimizer);
  const resumed = run((optimizer, all) => {
    const { stepCount, tensors } = optimizer.stateDict();
    const copies = new Map([...tensors].map(([name, t]) => [name, tensor(t.toArray(), t.shape)]));
    optimizer.dispose();
    const fresh = new AdamW(all);
    fresh.loadStateDict({ stepCount, tensors: copies });
    return fresh;
  });
  expect(resumed).toEqual(straight);
});

test('a parameter that skips steps has the bias correction of its own updates, also after loading', () => {
  const [every, seldom] = [parameter(tensor([1])), parameter(tensor([1]))];
  const all = new Map([
    ['every', every],
    ['seldom', seldom],
  ]);
  const reference = new Reference([1]);
  let optimizer = new AdamW(all);
  for (let t = 0; t < 6; t++) {
    every.grad = tensor([0.5]);
    if (t % 2 === 0) {
      const gradient = 0.1 + t;
      seldom.grad = tensor([gradient]);
      reference.step([gradient], 1 + t / 2, 0.01, 0.9, 0.999, 1e-8, 0.1);
    }
    optimizer.step({ lr: 0.01 });
    optimizer.zeroGrad();
    if (t !== 3) continue;
    const { stepCount, tensors } = optimizer.stateDict();
    const copies = new Map([...tensors].map(([name, state]) => [name, tensor(state.toArray(), state.shape)]));
    optimizer.dispose();
    optimizer = new AdamW(all);
    optimizer.loadStateDict({ stepCount, tensors: copies });
  }
  expect(seldom.item()).toBeCloseTo(reference.p[0]!, 6);
  expect(optimizer.stepCount).toBe(6);
});

test('a group’s option that is undefined is that of all groups', () => {
  const p = parameter(tensor([1]));
  const optimizer = new AdamW([{ parameters: new Map([['p', p]]), weightDecay: undefined }], {
    lr: 0.1,
    weightDecay: 0.5,
  });
  p.grad = tensor([0]);
  optimizer.step();
  expect(p.item()).toBeCloseTo(0.95, 6);
});

test('groups have options of their own, and a parameter without gradient stays', () => {
  const [a, b, c] = [1, 2, 3].map((x) => parameter(tensor([x])));
  const optimizer = new AdamW(
    [
      { parameters: new Map([['a', a!]]), weightDecay: 0 },
      { parameters: new Map([['b', b!]]), lrScale: 0 },
      { parameters: new Map([['c', c!]]) },
    ],
    { lr: 0.1 },
  );
  a!.grad = tensor([1]);
  b!.grad = tensor([1]);
  optimizer.step();
  expect([a!.item(), b!.item(), c!.item()]).toEqual([expect.closeTo(0.9, 5), 2, 3]);
});

test('gradients that are not finite change nothing and are told', () => {
  const p = parameter(tensor([1, 2]));
  const optimizer = new AdamW(new Map([['p', p]]));
  p.grad = tensor([Number.NaN, 1]);
  expect(optimizer.step({ maxGradNorm: 1 }).gradNorm).toBeNaN();
  expect([...p.data, optimizer.stepCount]).toEqual([1, 2, 0]);
});

describe('a step whose norm nobody has read', () => {
  /** Steps with these gradients, of which none is read; the optimizer, its parameter, and how the last one is read. */
  const take = (gradients: readonly number[]) => {
    const p = parameter(tensor([1]));
    const optimizer = new AdamW(new Map([['p', p]]), { lr: 0.1 });
    const results = gradients.map((gradient) => {
      p.grad?.dispose();
      p.grad = tensor([gradient]);
      return optimizer.step();
    });
    return { p, optimizer, results };
  };
  const counted = ({ optimizer }: ReturnType<typeof take>) => {
    const { stepCount, tensors } = optimizer.stateDict();
    return [stepCount, tensors.get('p.step')!.item()];
  };

  test('counts in the state, and not where its gradients were not finite', () => {
    expect(counted(take([1]))).toEqual([1, 1]);
    expect(counted(take([1, Number.NaN]))).toEqual([1, 1]);
    expect(take([1, Number.NaN]).optimizer.stepCount).toBe(1);
  });

  test('leaves the next step the bias correction that it should have', () => {
    const [skipped, straight] = [take([1, Number.POSITIVE_INFINITY, 0.5]), take([1, 0.5])];
    expect(skipped.p.item()).toBe(straight.p.item());
    expect(counted(skipped)).toEqual([2, 2]);
  });

  test('keeps its norm', () => {
    const { results, p, optimizer } = take([3, Number.NaN, 4]);
    expect(results.map(({ gradNorm }) => gradNorm)).toEqual([3, Number.NaN, 4]);
    expect(optimizer.stepCount).toBe(2);
    optimizer.remove([p]);
    expect(results[2]).toMatchObject({ gradNorm: 4 });
  });

  test('is read together with other values', () => {
    const { results, optimizer } = take([3]);
    const others = [tensor([5]), tensor(6)];
    expect(results[0]!.readWith(others)).toEqual([5, 6]);
    expect([results[0]!.gradNorm, optimizer.stepCount]).toEqual([3, 1]);
    expect(results[0]!.readWith(others)).toEqual([5, 6]);
    expect(optimizer.stepCount).toBe(1);
  });

  test('is none when the optimizer is gone', () => {
    const { results, optimizer } = take([3]);
    optimizer.dispose();
    expect(() => results[0]!.gradNorm).toThrow(/disposed/);
  });
});

test('the two halves of a step are the step, and one that was prepared only does not count', () => {
  const [whole, halves] = [0, 1].map(() => parameter(tensor([1, 2])));
  const optimizers = [whole, halves].map((p) => new AdamW(new Map([['p', p!]]), { lr: 0.1 }));
  for (const gradient of [0.5, 0.25]) {
    for (const p of [whole!, halves!]) p.grad = tensor([gradient, 1]);
    optimizers[0]!.step({ lr: gradient, maxGradNorm: 1 });
    const result = optimizers[1]!.prepareStep({ lr: gradient });
    optimizers[1]!.applyStep({ maxGradNorm: 1 });
    expect(result.gradNorm).toBeCloseTo(Math.hypot(gradient, 1), 6);
    optimizers[1]!.prepareStep();
  }
  expect(halves!.data).toEqual(whole!.data);
  expect(optimizers.map(({ stepCount }) => stepCount)).toEqual([2, 2]);
  halves!.grad = null;
  expect(() => optimizers[1]!.applyStep()).toThrow('AdamW: applyStep: p has no gradient');
});

test('an update that was not prepared is refused', () => {
  const p = parameter(tensor([1, 2]));
  const optimizer = new AdamW(new Map([['p', p]]), { lr: 0.1 });
  p.grad = tensor([1, 1]);
  const refused = 'AdamW: applyStep: call prepareStep before each one';
  expect(() => optimizer.applyStep()).toThrow(refused);
  optimizer.prepareStep();
  optimizer.applyStep();
  expect(() => optimizer.applyStep()).toThrow(refused);
  optimizer.prepareStep();
  optimizer.step();
  expect(() => optimizer.applyStep()).toThrow(refused);
  expect(optimizer.stepCount).toBe(2);
});

test('a gradient of another shape or dtype, or a disposed one, is refused, and its step does not count', () => {
  const p = parameter(tensor([1, 2]));
  const optimizer = new AdamW(new Map([['p', p]]), { lr: 0.1 });
  for (const gradient of [tensor([1]), tensor([1, 2, 3]), tensor(Int32Array.of(1, 2))])
    expect(() => {
      p.grad = gradient;
    }).toThrow('grad: expected a tensor of');
  const gradient = tensor([1, 1]);
  p.grad = gradient;
  gradient.dispose();
  expect(() => optimizer.step()).toThrow('AdamW: gradient of p: the tensor was disposed');
  optimizer.prepareStep();
  expect(() => optimizer.applyStep()).toThrow('AdamW: gradient of p: the tensor was disposed');
  expect([optimizer.stepCount, ...p.data]).toEqual([0, 1, 2]);
});

test('options that the caller changes later change nothing', () => {
  const p = parameter(tensor([1]));
  const betas: [number, number] = [0.9, 0.999];
  const optimizer = new AdamW(new Map([['p', p]]), { betas });
  betas[0] = 0;
  p.grad = tensor([1]);
  optimizer.step();
  expect(optimizer.stateDict().tensors.get('p.exp_avg')!.item()).toBeCloseTo(0.1, 6);
});

test.each<[string, (layer: Linear) => ConstructorParameters<typeof AdamW>[0], string[]]>([
  ['a module', (layer) => layer, ['weight', 'bias']],
  ['its named parameters', (layer) => layer.namedParameters(), ['weight', 'bias']],
  ['its parameters', (layer) => layer.parameters(), ['0', '1']],
  ['groups of tensors', ({ u, bias }) => [{ parameters: [u] }, { parameters: [bias!], lrScale: 2 }], ['0', '1']],
  ['groups of modules', (layer) => [{ parameters: layer, weightDecay: 0 }], ['weight', 'bias']],
])('%s is what an optimizer is made of', (_, source, names) => {
  const layer = new Linear({ inFeatures: 3, outFeatures: 2 });
  const optimizer = new AdamW(source(layer));
  expect([...optimizer.stateDict().tensors.keys()].filter((name) => name.endsWith('.step'))).toEqual(
    names.map((name) => `${name}.step`),
  );
  for (const p of layer.parameters()) p.grad = ones(p.shape);
  const before = layer.parameters().map((p) => p.toArray());
  optimizer.step({ lr: 0.1 });
  layer.parameters().forEach((p, i) => {
    expect(p.toArray()).not.toEqual(before[i]);
  });
});

test('what is no parameter is refused', () => {
  const p = parameter(tensor([1]));
  for (const parameters of [[p, 1], [{ parameters: [1] }], new Map([['p', 1]]), { p }, undefined])
    expect(() => new AdamW(parameters as never)).toThrow('AdamW: parameters: expected a module, tensors');
  const ids = tensor(new Int32Array([1]));
  expect(() => new AdamW(new Map([['ids', ids]]))).toThrow(DTypeError);
  expect(() => new AdamW([ids])).toThrow('AdamW: 0: expected a float32 or bfloat16 tensor, got int32');
  ids.dispose();
  expect(() => new AdamW([ids])).toThrow(DisposedError);
});

test('bad options and foreign states are refused', () => {
  const p = parameter(tensor([1]));
  const all = new Map([['p', p]]);
  expect(() => new AdamW(all, { lr: Number.NaN })).toThrow(OptionError);
  expect(() => new AdamW(all, { betas: [1, 0.9] })).toThrow('AdamW: betas');
  // @ts-expect-error what an untyped caller may do
  expect(() => new AdamW(all, { betas: [0.9] })).toThrow('AdamW: betas');
  expect(() => new AdamW([{ parameters: all }, { parameters: all }])).toThrow('each name once');
  const optimizer = new AdamW(all);
  expect(() => optimizer.step({ lr: -1 })).toThrow(OptionError);
  expect(() => optimizer.loadStateDict({ stepCount: 1, tensors: new Map() })).toThrow(StateDictError);
  const { tensors } = optimizer.stateDict();
  tensors.set('p.exp_avg', tensor(new Int32Array([1])));
  expect(() => optimizer.loadStateDict({ stepCount: 1, tensors })).toThrow('expected 1 float32 values, got 1 int32');
});

describe.each([
  ['AdamW', AdamW],
  ['Muon', Muon],
] as const)('%s', (name, Optimizer) => {
  const make = () => {
    const p = parameter(tensor([[1, 2]]));
    p.grad = tensor([[3, 4]]);
    return { p, optimizer: new Optimizer([p]) };
  };

  test('refuses everything after dispose, which may be called again', () => {
    const { p, optimizer } = make();
    optimizer.dispose();
    optimizer.dispose();
    for (const use of [
      () => optimizer.step(),
      () => optimizer.prepareStep(),
      () => optimizer.applyStep(),
      () => optimizer.zeroGrad(),
      () => optimizer.remove([p]),
      () => optimizer.stateDict(),
      () => optimizer.loadStateDict({ stepCount: 0, tensors: new Map() }),
      () => optimizer.stepCount,
    ])
      expect(use).toThrow(DisposedError);
    expect([...p.data, ...p.grad!.data]).toEqual([1, 2, 3, 4]);
  });

  test('refuses a clip that is none, one that was disposed, and parameters that are none', () => {
    const { p, optimizer } = make();
    expect(() => optimizer.step({ clip: {} as never })).toThrow(
      `${name}.step: clip: expected a GradientClip, got Object`,
    );
    expect(() => optimizer.prepareStep({ clip: null as never })).toThrow(`${name}.prepareStep: clip: expected`);
    const clip = new GradientClip().measure([p]);
    clip[Symbol.dispose]();
    expect(() => optimizer.step({ clip })).toThrow(DisposedError);
    for (const parameters of [p, [null], null, new Set([p])])
      expect(() => optimizer.remove(parameters as never)).toThrow(
        `${name}.remove: parameters: expected an array of tensors`,
      );
    expect(optimizer.stateDict().tensors.size).toBeGreaterThan(0);
    expect([...p.data]).toEqual([1, 2]);
  });
});

test('Muon refuses an isMatrix that answers neither true nor false', () => {
  const p = parameter(tensor([[1]]));
  for (const answer of [undefined, 1, 'no', Promise.resolve(true)])
    expect(() => new Muon(new Map([['w', p]]), { isMatrix: () => answer as never })).toThrow(
      'Muon: isMatrix of w: expected true or false',
    );
});

describe('schedules', () => {
  const options = { peak: 2, totalSteps: 110, warmupSteps: 10 };

  test('warm up by (step + 1) / warmup', () => {
    for (const schedule of [cosineSchedule(options), linearSchedule(options), constantSchedule(options)])
      expect([0, 4, 9].map(schedule)).toEqual([0.2, 1, 2]);
  });

  test('end at a tenth of the peak and stay there', () => {
    const [cosine, linear] = [cosineSchedule(options), linearSchedule(options)];
    expect([10, 60, 110, 500].map(cosine)).toEqual([2, 1.1, 0.2, 0.2].map((x) => expect.closeTo(x, 12)));
    expect([10, 60, 110, 500].map(linear)).toEqual([2, 1.1, 0.2, 0.2].map((x) => expect.closeTo(x, 12)));
    expect(constantSchedule(options)(1e6)).toBe(2);
  });

  test('stay at the peak, then fall in a line', () => {
    const wsd = wsdSchedule({ ...options, decaySteps: 50, minRatio: 0.2 });
    expect([9, 10, 59, 60, 85, 110, 500].map(wsd)).toEqual(
      [2, 2, 2, 2, 1.2, 0.4, 0.4].map((x) => expect.closeTo(x, 12)),
    );
    const longer = wsdSchedule({ ...options, totalSteps: 1000 });
    expect([0, 5, 10, 59, 799, 900].map(longer)).toEqual([0.2, 1.2, 2, 2, 2, 1.1].map((x) => expect.closeTo(x, 12)));
    expect([10, 60, 110].map(wsdSchedule({ ...options, decaySteps: 1000 }))).toEqual(
      [10, 60, 110].map(linearSchedule(options)),
    );
    expect([109, 110].map(wsdSchedule({ ...options, decaySteps: 0 }))).toEqual([2, 0.2]);
  });

  test('refuse what makes no sense', () => {
    expect(() => cosineSchedule({ peak: -1, totalSteps: 3 })).toThrow(OptionError);
    expect(() => linearSchedule({ peak: 1, totalSteps: 0 })).toThrow(OptionError);
  });
});
