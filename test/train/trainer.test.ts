import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DisposedError, FileError, FormatError, IndexError, memoryStats, OptionError } from '../../lib';
import { TokenFile } from '../../lib/data';
import { saveCheckpoint } from '../../lib/io';
import { native } from '../../lib/native';
import { releaseGuides } from '../../lib/nn';
import {
  DivergedError,
  evaluate,
  loadModel,
  planSteps,
  runFlops,
  type TrainConfig,
  Trainer,
  train,
} from '../../lib/train';
import { checkTrainConfig } from '../../lib/train/config';
import { learningRateOf } from '../../lib/train/learning_rate';
import { allocatedWithoutGarbage } from '../support/garbage';
import { CONFIG, folder, take, weightsOf, writeTokenFile } from './support';

const GUIDED: TrainConfig = { ...CONFIG, guidance: { part: 0.5, form: 'mixed' } };

// Written by this library on 2026-11-23; a change of the method, the draws or the order of the data shows here.
const GOLDEN = [3.362545, 3.308663, 3.194774, 3.197652, 3.150967, 3.077184, 2.9939, 3.029191, 2.931726, 2.821925];

test('ten steps give the losses that they always gave', async () => {
  using trainer = new Trainer({ ...GUIDED, steps: 10 });
  const losses = (await take(trainer)).map(({ loss }) => loss!);
  expect(losses).toHaveLength(GOLDEN.length);
  expect(Math.max(...losses.map((loss, i) => Math.abs(loss - GOLDEN[i]!)))).toBeLessThan(1e-4);
});

test('it learns what the tokens hold', async () => {
  using trainer = new Trainer({ ...GUIDED, steps: 120, batchSize: 8 });
  const before = await trainer.evaluate();
  await take(trainer);
  const after = await trainer.evaluate();
  expect(before.loss).toBeCloseTo(Math.log(29), 1);
  // One token in four is drawn at random: the best loss is about 1.66.
  expect(after.loss).toBeLessThan(2.2);
  expect(after.perplexity).toBeCloseTo(Math.exp(after.loss), 10);
});

test('steps report the schedules and count tokens', async () => {
  using trainer = new Trainer({ ...GUIDED, warmup: 0.5, gradientAccumulation: 2 });
  const reports = await take(trainer);
  expect(reports.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(reports.map(({ alpha }) => alpha)).toEqual([1, expect.closeTo(0.75), expect.closeTo(0.25), 0, 0, 0]);
  expect(reports[0]!.learningRate).toBeCloseTo(1e-2 / 3, 10);
  expect(reports[2]!.learningRate).toBeCloseTo(1e-2, 10);
  expect(reports.every(({ tokens }) => tokens === 2 * 3 * 16)).toBe(true);
});

test('at the hand-over the guides and their moments are gone', async () => {
  using trainer = new Trainer(GUIDED);
  const plain = trainer.model.ffnParameters().structured;
  const guides = () => [...trainer.model.namedParameters().keys()].filter((name) => name.endsWith('.guide'));
  expect(guides()).toHaveLength(2);
  await take(trainer, 2);
  const during = memoryStats().allocated;
  await take(trainer, 1);
  expect(guides()).toEqual([]);
  expect(trainer.model.ffnParameters().structured).toBe(plain);
  // Two guides of 64 × 16 floats, each with two moments.
  expect(during - memoryStats().allocated).toBeGreaterThanOrEqual(2 * 64 * 16 * 4 * 3);
});

test('fixed-flop sees the guided batches once more at the end', async () => {
  const config: TrainConfig = { ...CONFIG, guidance: { protocol: 'fixed-flop', part: 0.5 }, learningRate: 0 };
  expect(planSteps(config)).toEqual({ guided: 3, repeatFrom: 6, total: 9 });
  using trainer = new Trainer({ ...config, guidance: { ...config.guidance, form: 'mixed' } });
  const losses = (await take(trainer)).map(({ loss }) => loss!);
  expect(losses).toHaveLength(9);
  // Nothing is learnt at a rate of 0 and the guide equals the factors, so equal batches have equal losses.
  for (const i of [0, 1, 2]) expect(losses[6 + i]).toBeCloseTo(losses[i]!, 5);
  expect(losses[3]).not.toBeCloseTo(losses[0]!, 5);
});

test('accumulated passes make the step of one large batch', async () => {
  const data = { ...CONFIG.data, order: 'sequential' } as const;
  using small = new Trainer({ ...CONFIG, data, batchSize: 2, gradientAccumulation: 3 });
  using large = new Trainer({ ...CONFIG, data, batchSize: 6 });
  for (const report of await take(large, 3)) {
    const [accumulated] = await take(small, 1);
    expect(accumulated!.loss).toBeCloseTo(report.loss!, 4);
    expect(accumulated!.gradNorm).toBeCloseTo(report.gradNorm!, 3);
  }
});

test('evaluation is the same each time and counts each token once', async () => {
  using trainer = new Trainer(GUIDED);
  await take(trainer, 1);
  const first = await trainer.evaluate();
  expect(await trainer.evaluate()).toEqual(first);
  expect(first.tokens).toBe(Math.floor(499 / 16) * 16);
  expect((await trainer.evaluate({ maxRows: 4 })).tokens).toBe(64);
  expect(first.bitsPerByte).toBeNull();
});

test('a step and an evaluation are refused while one is under way, and change nothing', async () => {
  const losses = async (beside: (trainer: Trainer) => Promise<unknown>) => {
    using trainer = new Trainer(CONFIG);
    const step = trainer.takeStep();
    await expect(beside(trainer)).rejects.toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
    return [(await step).loss, (await trainer.takeStep()).loss];
  };
  expect(await losses((trainer) => trainer.takeStep())).toEqual(await losses((trainer) => trainer.evaluate()));
});

test('a save is refused while a step is under way, and takes the whole step after it', async () => {
  using trainer = new Trainer(CONFIG);
  const step = trainer.takeStep();
  expect(() => trainer.save(join(folder, 'beside'))).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
  expect(existsSync(join(folder, 'beside'))).toBe(false);
  await step;
  trainer.save(join(folder, 'beside'));
  using resumed = Trainer.resume(join(folder, 'beside'));
  expect(weightsOf(resumed)).toEqual(weightsOf(trainer));
  expect(await take(resumed, 2)).toEqual(await take(trainer, 2));
});

test('a disposed trainer refuses everything, and may be disposed again', async () => {
  const trainer = new Trainer(CONFIG);
  trainer[Symbol.dispose]();
  trainer[Symbol.dispose]();
  await expect(trainer.takeStep()).rejects.toThrow(DisposedError);
  await expect(trainer.evaluate()).rejects.toThrow(DisposedError);
  expect(() => trainer.steps()).toThrow(DisposedError);
  expect(() => trainer.save(join(folder, 'disposed'))).toThrow(DisposedError);
});

test('bits per byte follow from the size of the text', async () => {
  using trainer = new Trainer({ ...CONFIG, data: { ...CONFIG.data, validationBytes: 1000 } });
  const { loss, bitsPerByte } = await trainer.evaluate();
  expect(bitsPerByte).toBeCloseTo((loss / Math.LN2) * (500 / 1000), 10);
});

test('an abort finishes the step, saves, and the run can go on', async () => {
  const checkpoint = join(folder, 'aborted');
  const controller = new AbortController();
  const events: string[] = [];
  for await (const event of train({ config: { ...CONFIG, checkpoint } }, { signal: controller.signal })) {
    events.push(event.type);
    if (event.type === 'step' && event.step === 2) controller.abort();
    if (event.type === 'end')
      expect(event).toEqual({ type: 'end', step: 2, reason: 'aborted', flops: runFlops(CONFIG, 0, 2) });
  }
  expect(events).toEqual(['start', 'step', 'step', 'checkpoint', 'end']);
  using trainer = Trainer.resume(checkpoint);
  expect(await take(trainer)).toHaveLength(4);
});

test('a run saves and evaluates when it is due', async () => {
  const checkpoint = join(folder, 'due');
  const events: string[] = [];
  for await (const event of train({ config: { ...CONFIG, checkpoint, saveEvery: 2, evalEvery: 3 } }))
    events.push(event.type === 'start' ? 'start' : `${event.type} ${event.step}`);
  expect(events).toEqual([
    'start',
    'step 1',
    ...['step 2', 'checkpoint 2'],
    ...['step 3', 'evaluation 3'],
    ...['step 4', 'checkpoint 4'],
    'step 5',
    ...['step 6', 'checkpoint 6', 'evaluation 6', 'end 6'],
  ]);
});

test('a loss that is not finite stops the run and leaves the checkpoint as it was', async () => {
  const checkpoint = join(folder, 'diverged');
  {
    using trainer = new Trainer(CONFIG);
    await take(trainer, 1);
    trainer.save(checkpoint);
  }
  const saved = readFileSync(join(checkpoint, 'trainer.json'));
  using trainer = Trainer.resume(checkpoint);
  trainer.model.embedding.weight.data.fill(Number.NaN);
  const run = async () => {
    for await (const _ of trainer.steps());
  };
  await expect(run()).rejects.toThrow(DivergedError);
  await expect(run()).rejects.toMatchObject({ code: 'ERR_DIVERGED' });
  expect(readFileSync(join(checkpoint, 'trainer.json'))).toEqual(saved);
});

test('an evaluation whose loss is not finite is an error', async () => {
  using trainer = new Trainer(CONFIG);
  trainer.model.embedding.weight.data.fill(Number.NaN);
  await expect(trainer.evaluate()).rejects.toThrow('evaluate: the loss of the rows after token 0 is NaN');
});

test('init starts from given weights, and makes guides of the given factors', async () => {
  const checkpoint = join(folder, 'given');
  using first = new Trainer(CONFIG);
  await take(first, 2);
  first.save(checkpoint);
  using plain = new Trainer({ ...CONFIG, init: checkpoint, seed: 77 });
  expect(weightsOf(plain)).toEqual(weightsOf(first));
  using guided = new Trainer({ ...GUIDED, init: join(checkpoint, 'model.safetensors'), seed: 77 });
  expect((await guided.evaluate()).loss).toBeCloseTo((await first.evaluate()).loss, 5);
  const { model } = loadModel(checkpoint);
  expect([...model.namedParameters().keys()]).toEqual([...weightsOf(first).keys()]);
  model.dispose();
});

test('a checkpoint from before the hand-over keeps its guides, at the alpha of its step', async () => {
  const checkpoint = join(folder, 'guided');
  using trainer = new Trainer(GUIDED);
  await take(trainer, 2);
  trainer.save(checkpoint);
  const expected = await trainer.evaluate();
  const { model } = loadModel(checkpoint);
  using file = new TokenFile(CONFIG.data.validation!, 'uint16');
  const options = { batchSize: CONFIG.batchSize, seqLen: CONFIG.model.seqLen };
  expect((await evaluate(model, file, options)).loss).toBe(expected.loss);
  releaseGuides(model);
  expect(Math.abs((await evaluate(model, file, options)).loss - expected.loss)).toBeGreaterThan(1e-6);
  model.dispose();
  expect(() => loadModel(join(checkpoint, 'model.safetensors'))).toThrow('no trainer.json');
});

test('no factorisation is computed for weights that are loaded', async () => {
  const checkpoint = join(folder, 'cheap');
  const spy = jest.spyOn(native.kernels, 'svd');
  using first = new Trainer(CONFIG);
  expect(spy).toHaveBeenCalledTimes(2);
  first.save(checkpoint);
  using resumed = Trainer.resume(checkpoint);
  using given = new Trainer({ ...CONFIG, init: checkpoint });
  loadModel(checkpoint).model.dispose();
  expect(spy).toHaveBeenCalledTimes(2);
  spy.mockRestore();
  for (const trainer of [resumed, given]) expect(weightsOf(trainer)).toEqual(weightsOf(first));
});

test('a long run holds constant memory', async () => {
  using trainer = new Trainer({ ...CONFIG, steps: 60 });
  await take(trainer, 5);
  const allocated = await allocatedWithoutGarbage();
  await take(trainer, 50);
  expect(memoryStats().allocated).toBe(allocated);
});

describe('bad input', () => {
  const odd = join(folder, 'odd.bin');
  writeFileSync(odd, new Uint8Array(7));
  const short = writeTokenFile('short.bin', 10, 3);
  const data = (path: string) => ({ data: { ...CONFIG.data, train: path } });

  test.each<[string, object, new (...args: never[]) => Error]>([
    ['no steps', { steps: 0 }, OptionError],
    ['half a row', { batchSize: 0.5 }, OptionError],
    ['a rate that is no number', { learningRate: Number.NaN }, OptionError],
    ['a negative rate', { learningRate: -1 }, OptionError],
    ['an unknown schedule', { schedule: 'step' }, OptionError],
    ['an unknown protocol', { guidance: { protocol: 'other' } }, OptionError],
    ['more guidance than steps', { guidance: { part: 1.5 } }, OptionError],
    ['rows longer than the context', { seqLen: 17 }, OptionError],
    ['a fractional seed', { seed: 0.5 }, OptionError],
    ['a model without layers', { model: { ...CONFIG.model, nLayers: 0 } }, OptionError],
    ['a token file that is not there', data(join(folder, 'none.bin')), FileError],
    ['half a token', data(odd), FormatError],
    ['too few tokens', data(short), FormatError],
    ['an init that is not there', { init: join(folder, 'none') }, FileError],
  ])('%s', (_name, change, error) => {
    expect(() => new Trainer({ ...CONFIG, ...change })).toThrow(error);
  });

  test('tokens outside the vocabulary, in either file, before the first step', () => {
    const model = { ...CONFIG.model, vocabSize: 5 };
    expect(() => new Trainer({ ...CONFIG, model })).toThrow(IndexError);
    expect(() => new Trainer({ ...CONFIG, model })).toThrow(`${CONFIG.data.train}: token `);
    const low = join(folder, 'low.bin');
    writeFileSync(low, new Uint8Array(2 * 500));
    expect(() => new Trainer({ ...CONFIG, model, data: { ...CONFIG.data, train: low } })).toThrow(
      `${CONFIG.data.validation}: token `,
    );
  });

  test('a checkpoint without a trainer', () => {
    const path = join(folder, 'model-only');
    saveCheckpoint(path, { model: new Map(), config: CONFIG.model });
    expect(existsSync(join(path, 'trainer.json'))).toBe(false);
    expect(() => Trainer.resume(path)).toThrow(FormatError);
  });
});

describe('the learning rate of a run', () => {
  const rates = (config: Partial<TrainConfig>): number[] => {
    const rate = learningRateOf({ ...CONFIG, steps: 10, learningRate: 1, warmup: 0.2, ...config });
    return [0, 1, 2, 6, 8, 10].map((step) => Number(rate(step).toFixed(6)));
  };

  test.each<[string, Partial<TrainConfig>, number[]]>([
    ['falls to a tenth of the peak', { schedule: 'linear' }, [0.5, 1, 1, 0.55, 0.325, 0.1]],
    ['falls to the rate that is given', { schedule: 'linear', minLearningRate: 0 }, [0.5, 1, 1, 0.5, 0.25, 0]],
    ['stays at the peak', { schedule: 'constant' }, [0.5, 1, 1, 1, 1, 1]],
    ['falls at the end', { schedule: 'wsd', decayPart: 0.4, minLearningRate: 0.2 }, [0.5, 1, 1, 1, 0.6, 0.2]],
    [
      'spans the repeats of fixed-flop',
      { schedule: 'wsd', guidance: { protocol: 'fixed-flop', part: 0.5 } },
      [0.333333, 0.666667, 1, 1, 1, 1],
    ],
  ])('%s', (_, config, expected) => expect(rates(config)).toEqual(expected));

  test.each<[Partial<TrainConfig>, string]>([
    [{ minLearningRate: 2 }, 'train: minLearningRate: expected a number from 0 to 0.01, got 2'],
    [{ schedule: 'constant', minLearningRate: 0 }, 'train: minLearningRate: expected none with a constant rate, got 0'],
    [{ decayPart: 0.1 }, "train: decayPart: expected none unless the schedule is 'wsd', got 0.1"],
    [{ schedule: 'wsd', decayPart: 1.5 }, 'train: decayPart: expected a number from 0 to 1, got 1.5'],
  ])('%p is refused', (config, message) => {
    expect(() => checkTrainConfig({ ...CONFIG, ...config })).toThrow(message);
  });
});
