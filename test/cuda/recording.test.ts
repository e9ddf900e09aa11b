/** Work that is recorded as a CUDA graph: what a replay computes, what cannot be recorded, whose memory it is. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  add,
  availableDevices,
  DeviceError,
  emptyCache,
  full,
  memoryStats,
  RecordedStep,
  RecordingError,
  square,
  sum,
  synchronize,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../lib';
import { asyncKernels, kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { Guidance } from '../../lib/nn';
import { Generator } from '../../lib/random';
import { allocatedWithoutGarbage } from '../support/garbage';

const on = { device: 'cuda' } as const;

/** What a worker and this thread tell each other: calls that the worker has made, and which of its kinds to make. */
const [CALLS, KIND] = [0, 1];
const KINDS = 7;

const withoutCuda = () => {
  test('says what is missing', () => expect(() => new RecordedStep(() => [])).toThrow(DeviceError));
  test('no recording is under way', () => native.abandonRecording());
};

const withCuda = () => {
  beforeEach(() => allocatedWithoutGarbage('cuda'));

  let worker: Worker | undefined;
  afterAll(() => worker?.terminate());

  /** x² + x, twice. */
  const stepOf = (x: Tensor) => new RecordedStep(() => [add(square(x), x), sum(x)]);

  test('every run computes from what its inputs hold then', () => {
    const x = zeros([3], on);
    using step = stepOf(x);
    const results = [1, 2, 3, 4].map((value) => {
      x.copyFrom(tensor([value, 0, -value]));
      return step.run().map((t) => Array.from(t.toArray()));
    });
    expect(results).toEqual([1, 2, 3, 4].map((v) => [[v * v + v, 0, v * v - v], [0]]));
    expect(step.recorded).toBe(true);
    x.dispose();
  });

  test('gradients of parameters that change between the runs', () => {
    const w = tensor([1, 2], undefined, { ...on, requiresGrad: true });
    using step = new RecordedStep(() => {
      sum(square(w)).backward();
      const { grad } = w;
      w.grad = null;
      return [grad!];
    });
    for (const value of [1, 5, 7]) {
      w.copyFrom(tensor([value, 2]));
      expect(Array.from(step.run()[0]!.toArray())).toEqual([2 * value, 4]);
    }
    w.dispose();
  });

  test('its memory is its own while it lives, and that of others afterwards', () => {
    emptyCache('cuda');
    const before = memoryStats('cuda').allocated;
    const x = full([1000], 3, on);
    const step = stepOf(x);
    for (let i = 0; i < 3; i++) step.run();
    const held = memoryStats('cuda').allocated;
    // Whatever others do with theirs, intermediate values included.
    const others = Array.from({ length: 20 }, () => full([1000], -1, on));
    expect(step.run()[0]!.toArray()).toEqual(new Float32Array(1000).fill(12));
    for (const other of others) {
      expect(other.toArray()).toEqual(new Float32Array(1000).fill(-1));
      other.dispose();
    }
    expect(memoryStats('cuda').allocated).toBe(held);
    step.dispose();
    x.dispose();
    expect(memoryStats('cuda').allocated).toBe(before);
    expect(() => step.run()).toThrow(/disposed/);
    step.dispose();
  });

  test('what it reads stays, though its owner has disposed of it', () => {
    const x = full([1000], 3, on);
    using step = stepOf(x);
    for (let i = 0; i < 2; i++) step.run();
    x.dispose();
    tidy(() => {
      for (let i = 0; i < 5; i++) full([1000], 0, on);
    });
    emptyCache('cuda');
    expect(step.run()[0]!.toArray()).toEqual(new Float32Array(1000).fill(12));
  });

  test('results outlive the scope of a run', () => {
    const x = full([2], 1, on);
    using step = stepOf(x);
    for (let i = 0; i < 3; i++) tidy(() => step.run());
    expect(Array.from(step.run()[0]!.toArray())).toEqual([2, 2]);
    x.dispose();
  });

  /** Records a body that does this. */
  const recording = (body: (x: Tensor) => unknown) => {
    const x = full([1], 2, on);
    let first = true;
    using step = new RecordedStep(() => {
      const y = square(x);
      if (!first) body(x);
      first = false;
      return [y];
    });
    step.run();
    try {
      step.run();
    } finally {
      x.dispose();
    }
  };

  test.each<[string, (x: Tensor) => unknown, RegExp]>([
    ['item', (x) => x.item(), /read them after the replay/],
    ['toArray', (x) => x.toArray(), /values cannot be read/],
    ['to cpu', (x) => x.to('cpu'), /values cannot be read/],
    ['synchronize', () => synchronize(), /cannot be waited for/],
    ['a tensor from the host', () => tensor([1], undefined, on), /write them into a tensor before/],
    ['copyFrom the host', (x) => x.copyFrom(tensor([1])), /write them into a tensor before/],
    [
      'random numbers',
      (x) => kernels.random_uniform({ y: x, seed_low: 1, seed_high: 0, offset: 0, low: 0, high: 1 }),
      /no random numbers/,
    ],
    ['a guide', () => new Guidance({ steps: 2 }).scales(true), /alpha changes from step to step/],
    ['another recording', () => recording(() => {}), /no other one/],
    ['a job', (x) => asyncKernels.fill({ y: x, value: 1 }), /no job can be/],
  ])('%s is refused by name, and everything goes on', (_, body, message) => {
    const before = memoryStats('cuda').allocated;
    let error: unknown;
    try {
      recording(body);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'ERR_RECORDING', message: expect.stringMatching(message) });
    tidy(() => expect(square(full([1], 3, on)).item()).toBe(9));
    expect(memoryStats('cuda').allocated).toBe(before);
    recording(() => {});
  });

  test('an error of the body ends the recording, and the next run records again', () => {
    const x = full([1], 2, on);
    let runs = 0;
    using step = new RecordedStep(() => {
      const y = square(x);
      if (++runs === 2) throw new Error('of the body');
      return [y];
    });
    step.run();
    expect(() => step.run()).toThrow('of the body');
    expect([step.recorded, x.item()]).toEqual([false, 2]);
    expect([step.run()[0]!.item(), step.recorded]).toEqual([4, true]);
    x.dispose();
  });

  test('the errors of natives are typed', () => {
    expect(() => recording((x) => x.item())).toThrow(RecordingError);
    expect(() => native.endRecording()).toThrow(/no recording is under way/);
    expect(new Generator(1).normal([2]).size).toBe(2);
  });

  test('what other threads do with the device waits for the end of a recording', async () => {
    const shared = new Int32Array(new SharedArrayBuffer(8));
    worker = new Worker(join(__dirname, 'recording_child.ts'), {
      execArgv: ['-r', join(__dirname, '..', '..', 'scripts', 'register_ts.cjs')],
      workerData: shared,
    });
    const end = new Promise<string[]>((resolve, reject) => {
      worker?.once('message', resolve);
      worker?.once('error', reject);
    });
    /** Waits until the worker has made a call more than `calls`, or for so long that it should have. */
    const next = (calls: number, milliseconds: number) => Atomics.wait(shared, CALLS, calls, milliseconds);
    const x = full([1], 2, on);
    for (let kind = 0; kind < KINDS; kind++) {
      Atomics.store(shared, KIND, kind);
      let during: string[] = [];
      using step = new RecordedStep(() => {
        // The first may have come just before the recording.
        during = [0, 1].map(() => next(Atomics.load(shared, CALLS), 50));
        return [square(x)];
      });
      // Until all calls are of this kind.
      for (let i = 0; i < 3; i++) next(Atomics.load(shared, CALLS), 60_000);
      step.run();
      step.run();
      expect([kind, during[1]]).toEqual([kind, 'timed-out']);
      expect([kind, step.run()[0]!.item()]).toEqual([kind, 4]);
    }
    Atomics.store(shared, KIND, KINDS);
    expect(await end).toEqual([]);
    x.dispose();
  }, 90_000);
};

if (availableDevices().includes('cuda')) describe('with CUDA', withCuda);
else describe('without CUDA', withoutCuda);
