/** The lowest validation loss: what is kept of it, and when a run ends because there is no lower one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../../lib';
import { TokenFile } from '../../lib/data';
import { evaluate, loadModel, type TrainConfig, type TrainEvent, Trainer, train } from '../../lib/train';
import { checkState } from '../../lib/train/checks';
import { checkTrainConfig } from '../../lib/train/config';
import { CONFIG, folder, take } from './support';

async function collect(events: AsyncGenerator<TrainEvent>): Promise<TrainEvent[]> {
  const all: TrainEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const lossesOf = (events: readonly TrainEvent[]): number[] =>
  events.flatMap((event) => (event.type === 'evaluation' && !event.final ? [event.loss] : []));

/** It learns at first, and is driven out of the valley later by its rate. */
const RISING: TrainConfig = {
  ...CONFIG,
  steps: 24,
  schedule: 'linear',
  warmup: 1,
  learningRate: 3,
  evalEvery: 2,
  maxGradNorm: 0,
};

test('the model with the lowest loss is kept', async () => {
  const checkpoint = join(folder, 'kept');
  const events = await collect(train({ config: { ...RISING, checkpoint, keepBest: true } }));
  const losses = lossesOf(events);
  const lowest = Math.min(...losses);
  expect(lowest).toBeLessThan(losses.at(-1)!);
  const best = `${checkpoint}-best`;
  const { step, best: record } = JSON.parse(readFileSync(join(best, 'trainer.json'), 'utf8'));
  expect(step).toBe(2 * (losses.indexOf(lowest) + 1));
  expect(record).toEqual({ loss: lowest, step, evaluationsSince: 0 });
  const { model } = loadModel(best);
  using file = new TokenFile(CONFIG.data.validation!, 'uint16');
  const { loss } = await evaluate(model, file, { batchSize: CONFIG.batchSize, maxRows: 64 });
  expect(loss).toBeCloseTo(lowest, 6);
  expect(loadModel(checkpoint).model).toBeDefined();
});

test('without a lower loss for as many evaluations as its patience allows, a run ends, and may go on', async () => {
  const checkpoint = join(folder, 'patient');
  const whole = lossesOf(await collect(train({ config: RISING })));
  const lowest = whole.indexOf(Math.min(...whole));
  const events = await collect(train({ config: { ...RISING, checkpoint, patience: 3 } }));
  expect(lossesOf(events)).toEqual(whole.slice(0, lowest + 4));
  expect(events.at(-1)).toMatchObject({ type: 'end', reason: 'stopped', step: 2 * (lowest + 4) });
  expect(events.at(-2)).toMatchObject({ type: 'evaluation', final: true });
  const state = JSON.parse(readFileSync(join(checkpoint, 'trainer.json'), 'utf8'));
  expect(state.best).toMatchObject({ evaluationsSince: 3 });
  const more = await collect(train({ resume: checkpoint, changes: { patience: 100 } }));
  expect([...lossesOf(events), ...lossesOf(more)]).toEqual(whole);
  expect(more.at(-1)).toMatchObject({ reason: 'finished' });
  for (const best of [{}, { ...state.best, step: -1 }, 3])
    expect(() => checkState(checkpoint, { ...state, best })).toThrow(FormatError);
});

test('a trainer of one step at a time judges as told', async () => {
  using trainer = new Trainer(CONFIG);
  expect(trainer.best).toBe(null);
  expect([trainer.judge(3), trainer.judge(3), trainer.judge(2)]).toEqual([true, false, true]);
  await take(trainer, 1);
  expect(trainer.judge(5)).toBe(false);
  expect(trainer.best).toEqual({ loss: 2, step: 0, evaluationsSince: 1 });
});

const { validation: _, ...unvalidated } = CONFIG.data;
test.each<[object, string]>([
  [{ keepBest: true }, 'train: keepBest: expected false without a checkpoint, got true'],
  [{ keepBest: true, checkpoint: 'x', data: unvalidated }, 'train: keepBest: expected false without validation tokens'],
  [{ patience: 2, data: unvalidated }, 'train: patience: expected none without validation tokens, got 2'],
  [{ patience: 0 }, 'train: patience: expected a whole number of at least 1, got 0'],
])('%p is refused', (change, message) => {
  expect(() => checkTrainConfig({ ...CONFIG, ...change } as TrainConfig)).toThrow(message);
});
