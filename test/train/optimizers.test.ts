/** Which optimizer a trainer has, and what goes on between the gradients and its step. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { noGrad, OptionError, StateDictError, scale, sub, type Tensor, tidy, zeros } from '../../lib';
import { loadSafetensors } from '../../lib/io';
import type { Optimizer, OptimizerState, StepOptions, UpdateResult } from '../../lib/optim';
import { keep } from '../../lib/scope';
import { type OptimizerConfig, type TrainConfig, Trainer, train } from '../../lib/train';
import { CONFIG, folder, take, weightsOf } from './support';

/** A user's own: gradient descent, of which the state is how far each parameter went. */
class Descent implements Optimizer {
  readonly #parameters: Map<string, Tensor>;
  readonly #travelled: Map<string, Tensor>;
  #stepCount = 0;

  constructor(parameters: Map<string, Tensor>) {
    this.#parameters = parameters;
    this.#travelled = new Map([...parameters].map(([name, { shape }]) => [name, keep(zeros(shape))]));
  }
  step({ lr = 0, clip }: StepOptions = {}): UpdateResult {
    const all = [...this.#parameters.values()];
    clip!.apply(all).whenKnown((finite) => {
      if (finite) this.#stepCount++;
    });
    for (const [name, p] of this.#parameters)
      noGrad(() =>
        tidy(() => {
          const change = scale(p.grad!, lr);
          p.copyFrom(sub(p, change));
          const travelled = this.#travelled.get(name)!;
          travelled.copyFrom(sub(travelled, change));
        }),
      );
    return clip!.result;
  }
  zeroGrad(): void {
    for (const p of this.#parameters.values()) p.grad = null;
  }
  remove(parameters: readonly Tensor[]): void {
    for (const [name, p] of this.#parameters) if (parameters.includes(p)) this.#parameters.delete(name);
  }
  stateDict(): OptimizerState {
    return { stepCount: this.#stepCount, tensors: this.#travelled };
  }
  loadStateDict({ stepCount, tensors }: OptimizerState): void {
    for (const [name, t] of this.#travelled) {
      const given = tensors.get(name);
      if (given === undefined) throw new StateDictError(`Descent: ${name}: none`);
      t.copyFrom(given);
    }
    this.#stepCount = stepCount;
  }
  dispose(): void {
    for (const t of this.#travelled.values()) t.dispose();
  }
}

const descent = {
  optimizer: (model: { namedParameters(): Map<string, Tensor> }) => new Descent(model.namedParameters()),
};

test.each<[string, OptimizerConfig]>([
  ['Muon', { name: 'muon' }],
  ['AdamW without decay of norms, biases and embeddings', { name: 'adamw', decay: 'matrices', betas: [0.9, 0.95] }],
])(
  '%s learns what the tokens hold',
  async (_, optimizer) => {
    using trainer = new Trainer({
      ...CONFIG,
      guidance: { part: 0.5, form: 'mixed' },
      steps: 60,
      batchSize: 8,
      optimizer,
    });
    await take(trainer);
    // A uniform guess loses 3.37, the best 1.66.
    const { loss } = await trainer.evaluate();
    expect(loss).toBeLessThan(2.5);
  },
  60_000,
);

test('an optimizer of AdamW’s defaults is the one that there is without any', async () => {
  using plain = new Trainer(CONFIG);
  using named = new Trainer({ ...CONFIG, optimizer: { name: 'adamw', betas: [0.9, 0.999], eps: 1e-8, decay: 'all' } });
  expect(await take(named)).toEqual(await take(plain));
  expect(weightsOf(named)).toEqual(weightsOf(plain));
});

test('a checkpoint says which optimizer it is of, and one that says nothing is AdamW’s', async () => {
  const path = join(folder, 'named');
  using first = new Trainer({ ...CONFIG, optimizer: { name: 'adamw' } });
  await take(first, 3);
  first.save(path);
  const { tensors } = loadSafetensors(join(path, 'optimizer.safetensors'));
  expect([...tensors.keys()].filter((name) => name.startsWith('norm.weight')).sort()).toEqual(
    ['exp_avg', 'exp_avg_sq', 'step'].map((part) => `norm.weight.${part}`),
  );
  const file = join(path, 'trainer.json');
  const state = JSON.parse(readFileSync(file, 'utf8'));
  expect(state.config.optimizer).toEqual({ name: 'adamw' });
  delete state.config.optimizer;
  writeFileSync(file, JSON.stringify(state));
  rmSync(join(path, 'manifest.json'));
  using second = Trainer.resume(path);
  expect(await take(second)).toEqual(await take(first));
});

describe('an optimizer of the user’s own', () => {
  test('trains, and goes on to the last bit', async () => {
    const path = join(folder, 'own');
    using whole = new Trainer(CONFIG, descent);
    const expected = await take(whole);
    expect(expected.at(-1)!.loss).toBeLessThan(expected[0]!.loss!);
    using first = new Trainer(CONFIG, descent);
    const before = await take(first, 3);
    first.save(path);
    using second = Trainer.resume(path, descent);
    expect([...before, ...(await take(second))]).toEqual(expected);
    expect(weightsOf(second)).toEqual(weightsOf(whole));
    expect(() => Trainer.resume(path)).toThrow(StateDictError);
  });

  test('is told which guides go', async () => {
    using trainer = new Trainer({ ...CONFIG, guidance: { part: 0.5, form: 'mixed' } }, descent);
    expect(await take(trainer)).toHaveLength(CONFIG.steps);
  });

  test('is not beside one of the config', () => {
    const config: TrainConfig = { ...CONFIG, optimizer: { name: 'adamw' } };
    expect(() => new Trainer(config, descent)).toThrow(OptionError);
    expect(() => new Trainer(config, { optimiser: descent.optimizer } as never)).toThrow('did you mean optimizer?');
  });
});

describe('between the gradients and the step', () => {
  test('the hook sees the gradients of all passes, may change them, and is waited for', async () => {
    const calls: number[] = [];
    const config = { ...CONFIG, gradientAccumulation: 2, maxGradNorm: 0 };
    using plain = new Trainer(config);
    using doubled = new Trainer(config, {
      onGradients: async (parameters) => {
        await Promise.resolve();
        calls.push([...parameters.values()].filter(({ grad }) => grad !== null).length);
        for (const { grad } of parameters.values()) grad?.copyFrom(scale(grad, 2));
      },
    });
    const [expected] = await take(plain, 1);
    const [actual] = await take(doubled, 1);
    expect(actual!.loss).toBe(expected!.loss);
    expect(actual!.gradNorm! / expected!.gradNorm!).toBeCloseTo(2, 5);
    expect(calls).toEqual([plain.model.parameters().length]);
  });

  test('train() takes it, too', async () => {
    let calls = 0;
    for await (const _ of train({ config: CONFIG }, { onGradients: () => void calls++ }));
    expect(calls).toBe(CONFIG.steps);
  });

  test('an error of the hook ends the step, and the next one has its own gradients', async () => {
    let fails = true;
    using plain = new Trainer(CONFIG);
    using trainer = new Trainer(CONFIG, {
      onGradients: () => {
        if (fails) throw new Error('no answer');
      },
    });
    await expect(trainer.takeStep()).rejects.toThrow('no answer');
    expect(trainer.model.parameters().every(({ grad }) => grad === null)).toBe(true);
    expect(trainer.step).toBe(0);
    fails = false;
    await take(plain, 1);
    expect((await take(trainer, 1))[0]!.step).toBe(1);
  });
});

test.each<[string, object, string]>([
  ['no object', 'muon' as never, 'train: optimizer: expected an object'],
  ['an unknown one', { name: 'sgd' }, 'train: optimizer.name: expected one of adamw, muon'],
  ['an option of another one', { name: 'adamw', momentum: 0.9 }, 'momentum: unknown option of TrainConfig.optimizer'],
  ['a misspelt option', { name: 'muon', momentums: 0.9 }, 'did you mean momentum?'],
  ['a rate of its own', { name: 'adamw', lr: 1 }, 'lr: unknown option'],
  ['a value that makes no sense', { name: 'muon', momentum: 2 }, 'train: optimizer: momentum'],
  ['another', { name: 'adamw', betas: [2, 0] }, 'train: optimizer: betas'],
])('%s is refused', (_, optimizer, message) => {
  const make = () => new Trainer({ ...CONFIG, optimizer: optimizer as never });
  expect(make).toThrow(OptionError);
  expect(make).toThrow(message);
});

const asOptimizer = (step: (options: StepOptions) => unknown) => ({
  step,
  zeroGrad() {},
  remove() {},
  stateDict: () => ({ stepCount: 0, tensors: new Map() }),
  loadStateDict() {},
  dispose() {},
});

test.each<[string, unknown]>([
  ['null', null],
  ['an object', {}],
  ['a text', 'muon'],
  ['a function that returns nothing', () => undefined],
  ['a function that returns null', () => null],
  ['an asynchronous function', async (model: { namedParameters(): Map<string, Tensor> }) => descent.optimizer(model)],
  ['an optimizer without a state', () => ({ ...asOptimizer(() => undefined), stateDict: undefined })],
])('%s is no optimizer: the constructor refuses it', (_, optimizer) => {
  expect(() => new Trainer(CONFIG, { optimizer: optimizer as never })).toThrow(OptionError);
  expect(() => new Trainer(CONFIG, { optimizer: optimizer as never })).toThrow(
    'Trainer: optimizer: expected a function',
  );
});

test('what is no function is no hook', () => {
  for (const onGradients of [null, {}, 'sum'])
    expect(() => new Trainer(CONFIG, { onGradients: onGradients as never })).toThrow(
      'Trainer: onGradients: expected a function',
    );
});

test.each<[string, unknown, string]>([
  ['nothing', undefined, 'step: expected a result with gradNorm and readWith'],
  ['a promise', Promise.resolve(), 'step: expected a result with gradNorm and readWith'],
  ['a norm alone', { gradNorm: 1 }, 'step: expected a result with gradNorm and readWith'],
  ['no losses', { gradNorm: 1, readWith: () => [] }, 'step: readWith: expected a result of 1 numbers'],
  ['no norm', { gradNorm: 'x', readWith: () => [1] }, 'step: gradNorm: expected a number'],
])('a step of the user’s optimizer that gives %s is refused, and leaves no gradient', async (_, result, message) => {
  using trainer = new Trainer(CONFIG, { optimizer: () => asOptimizer(() => result) as never });
  await expect(trainer.takeStep()).rejects.toThrow(OptionError);
  await expect(trainer.takeStep()).rejects.toThrow(`Trainer: optimizer.${message}`);
  expect(trainer.model.parameters().filter(({ grad }) => grad !== null)).toEqual([]);
  expect(trainer.step).toBe(0);
});

test('a state of the user’s optimizer that is none is not saved', () => {
  for (const state of [undefined, {}, { stepCount: 1, tensors: {} }, { stepCount: 1, tensors: new Map([['m', 1]]) }]) {
    const optimizer = () => ({ ...asOptimizer(() => undefined), stateDict: () => state }) as never;
    using trainer = new Trainer(CONFIG, { optimizer });
    expect(() => trainer.save(join(folder, 'stateless'))).toThrow('Trainer: optimizer.stateDict');
  }
});
