/** Training in a worker; it runs the build in dist/, which `npm test` makes first. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { FileError, SffnError } from '../../lib';
import { DivergedError, type TrainEvent, train, trainInWorker } from '../../lib/train';
import { CONFIG, folder } from './support';

const plain = (event: TrainEvent): object => (event.type === 'step' ? { ...event, tokensPerSecond: 0 } : event);

async function collect(events: AsyncIterable<TrainEvent>): Promise<object[]> {
  const all: object[] = [];
  for await (const event of events) all.push(plain(event));
  return all;
}

test('a worker tells the events that this thread would tell', async () => {
  const source = { config: { ...CONFIG, guidance: {}, evalEvery: 2 } };
  expect(await collect(trainInWorker(source))).toEqual(await collect(train(source)));
});

test('the event loop turns freely while the worker trains', async () => {
  const model = { ...CONFIG.model, dModel: 256, dFF: 1024, seqLen: 128 };
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  let steps = 0;
  for await (const event of trainInWorker({ config: { ...CONFIG, model, batchSize: 4, steps: 4 } })) {
    if (event.type === 'start') turn();
    if (event.type === 'step') steps++;
    if (event.type === 'end') running = false;
  }
  expect(steps).toBe(4);
  // A loop that waits for the kernels turns about twice a step.
  expect(turns).toBeGreaterThan(50 * steps);
});

test.each<[string, object, new (...args: never[]) => SffnError]>([
  ['a file that is missing', { data: { ...CONFIG.data, train: join(folder, 'missing.bin') } }, FileError],
  ['a loss that is not finite', { learningRate: 1e30, steps: 20 }, DivergedError],
])('the error of %s keeps its class', async (_, changes, type) => {
  const config = { ...CONFIG, ...changes } as typeof CONFIG;
  await expect(collect(trainInWorker({ config }))).rejects.toThrow(type);
});

test('an abort ends it after the step', async () => {
  const controller = new AbortController();
  const checkpoint = join(folder, 'worker-aborted');
  let last: TrainEvent | undefined;
  for await (const event of trainInWorker(
    { config: { ...CONFIG, steps: 100_000, checkpoint } },
    { signal: controller.signal },
  )) {
    if (event.type === 'step') controller.abort();
    last = event;
  }
  expect(last).toMatchObject({ type: 'end', reason: 'aborted' });
  const resumed = trainInWorker({ resume: checkpoint }, { signal: AbortSignal.abort() });
  expect((await collect(resumed)).at(-1)).toMatchObject({ type: 'end', reason: 'aborted' });
});

test('leaving the loop ends the worker: it does not keep the process', () => {
  const script = `
    import('structured-ffn/train').then(async ({ trainInWorker }) => {
      const config = ${JSON.stringify({ ...CONFIG, steps: 1e9 })};
      for await (const event of trainInWorker({ config })) if (event.type === 'step') break;
      console.log('left');
    });`;
  const printed = execFileSync(process.execPath, ['-e', script], { cwd: join(__dirname, '../..'), timeout: 60_000 });
  expect(printed.toString().trim()).toBe('left');
});

test('errors keep their code and message', async () => {
  const missing = { config: { ...CONFIG, data: { ...CONFIG.data, train: join(folder, 'none.bin') } } };
  const failure = collect(trainInWorker(missing));
  await expect(failure).rejects.toThrow(SffnError);
  await expect(failure).rejects.toMatchObject({ code: 'ERR_FILE', message: expect.stringContaining('none.bin') });
});
