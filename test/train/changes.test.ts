/** A run that goes on with other values: what may change, what it does, and what is kept of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../../lib';
import { type RunChanges, type TrainConfig, type TrainEvent, Trainer, train, trainInWorker } from '../../lib/train';
import { checkState } from '../../lib/train/checks';
import { CONFIG, folder, take, weightsOf } from './support';

const CONSTANT: TrainConfig = { ...CONFIG, schedule: 'constant' };
let made = 0;

/** The checkpoint of a run that stopped after some steps. */
async function stopped(config: TrainConfig, steps: number): Promise<string> {
  const path = join(folder, `changes-${made++}`);
  using trainer = new Trainer(config);
  await take(trainer, steps);
  trainer.save(path);
  return path;
}

test.each<[string, TrainConfig, number]>([
  ['before its end', CONSTANT, 4],
  ['at its end', CONSTANT, 6],
  ['with a long warm-up', { ...CONSTANT, warmup: 0.5 }, 2],
  ['with Muon', { ...CONSTANT, optimizer: { name: 'muon' } }, 5],
  ['while it is guided', { ...CONSTANT, guidance: { part: 0.5 } }, 2],
  ['after its guide', { ...CONSTANT, guidance: { part: 0.5, form: 'mixed' } }, 5],
  ['before its repeats', { ...CONSTANT, guidance: { protocol: 'fixed-flop', part: 0.5 } }, 4],
])('with more steps a run is the longer run, %s', async (_, config, at) => {
  const { warmup = 0.1, guidance } = config;
  const repeats = guidance?.protocol === 'fixed-flop' ? 3 : 0;
  using whole = new Trainer({
    ...config,
    steps: 10,
    warmup: Math.round(warmup * (6 + repeats)) / (10 + repeats),
    ...(guidance && { guidance: { ...guidance, part: 0.3 } }),
  });
  const expected = await take(whole);
  using longer = Trainer.resume(await stopped(config, at), { changes: { steps: 10 } });
  expect(longer.plan).toEqual(whole.plan);
  expect(await take(longer)).toEqual(expected.slice(at));
  expect(weightsOf(longer)).toEqual(weightsOf(whole));
});

test('new values take effect, and are kept with those before', async () => {
  const path = await stopped(CONFIG, 2);
  const second = Trainer.resume(path, { changes: { learningRate: 0.5, schedule: 'constant', batchSize: 4 } });
  const [report] = await take(second, 1);
  expect(report).toMatchObject({ learningRate: 0.5, tokens: 4 * 16 });
  second.save(path);
  second[Symbol.dispose]();
  using third = Trainer.resume(path, { changes: { gradientAccumulation: 2, weightDecay: undefined, batchSize: 4 } });
  expect((await take(third, 1))[0]).toMatchObject({ learningRate: 0.5, tokens: 2 * 4 * 16 });
  third.save(path);
  const { config, changes } = JSON.parse(readFileSync(join(path, 'trainer.json'), 'utf8'));
  expect(config).toMatchObject({ learningRate: 0.5, schedule: 'constant', batchSize: 4, gradientAccumulation: 2 });
  expect(changes).toEqual([
    {
      step: 2,
      from: { learningRate: 0.01, schedule: null, batchSize: 3 },
      to: { learningRate: 0.5, schedule: 'constant', batchSize: 4 },
    },
    { step: 3, from: { gradientAccumulation: null }, to: { gradientAccumulation: 2 } },
  ]);
});

test('without a change, or with the values that it had, it is the run that was not stopped', async () => {
  using whole = new Trainer(CONFIG);
  const expected = await take(whole);
  const path = await stopped(CONFIG, 3);
  for (const changes of [{}, { steps: 6, batchSize: 3, learningRate: undefined }]) {
    using second = Trainer.resume(path, { changes });
    expect(await take(second)).toEqual(expected.slice(3));
  }
});

const guided: TrainConfig = { ...CONFIG, guidance: { part: 0.5 } };
const repeating: TrainConfig = { ...CONFIG, guidance: { protocol: 'fixed-flop', part: 0.5 } };
test.each<[TrainConfig, number, object, string]>([
  [CONFIG, 4, { steps: 3 }, 'resume: steps: expected at least the 4 that were taken or are guided, got 3'],
  [guided, 1, { steps: 2 }, 'resume: steps: expected at least the 3 that were taken or are guided, got 2'],
  [repeating, 7, { steps: 8 }, 'resume: steps: expected 6, as the guided batches are repeated already, got 8'],
  [
    repeating,
    1,
    { batchSize: 8 },
    "resume: batchSize: expected no change with 'fixed-flop', which repeats its batches",
  ],
  [CONFIG, 1, { steps: 2.5 }, 'train: steps: expected a whole number of at least 1, got 2.5'],
  [CONFIG, 1, { learningRate: -1 }, 'train: learningRate: expected a number of at least 0, got -1'],
  [CONFIG, 1, { seed: 3 }, 'seed: unknown option of Trainer.resume: changes'],
  [CONFIG, 1, { model: CONFIG.model }, 'model: unknown option of Trainer.resume: changes'],
])('%#: a change that comes too late, or is none, is refused by name', async (config, at, changes, message) => {
  const path = await stopped(config, at);
  expect(() => Trainer.resume(path, { changes: changes as RunChanges })).toThrow(message);
});

test('train and trainInWorker take changes', async () => {
  const path = await stopped(CONSTANT, 6);
  const steps = async (events: AsyncGenerator<TrainEvent>): Promise<number[]> => {
    const seen: number[] = [];
    for await (const event of events) if (event.type === 'step') seen.push(event.step);
    return seen;
  };
  expect(await steps(train({ resume: path, changes: { steps: 7 } }))).toEqual([7]);
  expect(await steps(trainInWorker({ resume: path, changes: { steps: 9 } }))).toEqual([8, 9]);
  const wrong = { stpes: 3 } as RunChanges;
  await expect(steps(train({ resume: path, changes: wrong }))).rejects.toThrow('did you mean steps?');
});

test('a record of changes that is none is refused', async () => {
  const path = await stopped(CONFIG, 1);
  using trainer = Trainer.resume(path);
  trainer.save(path);
  const state = JSON.parse(readFileSync(join(path, 'trainer.json'), 'utf8'));
  expect(() => checkState(path, { ...state, changes: 'none' })).toThrow(FormatError);
});
