/** What soak.test.ts runs in processes of their own: long runs, and by how much the process has grown after them, in bytes. */
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { memoryStats, sum, tensor, tidy, zeros } from '../../lib';
import { defineLinear } from '../../lib/functional';
import { TransformerLM } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { TestRandom } from '../support/random';

interface Growth {
  /** Of the memory of the process. */
  readonly rss: number;
  /** Of the memory of tensors. */
  readonly allocated: number;
}

const collect = async () => {
  for (let i = 0; i < 3; i++) {
    global.gc?.();
    await nextTurn();
  }
};

/** By how much `count` rounds let the process grow, after others that warm it up. */
async function growth(
  count: number,
  rounds: (count: number) => void | Promise<void>,
  warming = Math.ceil(count / 5),
): Promise<Growth> {
  await rounds(warming);
  await collect();
  const before = { rss: process.memoryUsage.rss(), allocated: memoryStats().allocated };
  await rounds(count);
  await collect();
  return { rss: process.memoryUsage.rss() - before.rss, allocated: memoryStats().allocated - before.allocated };
}

/** Training steps of a tiny model; the event loop gets a turn after each, or none at all. */
async function training(count: number, yielding: boolean): Promise<Growth> {
  const model = new TransformerLM({
    vocabSize: 13,
    dModel: 8,
    nLayers: 1,
    nHeads: 2,
    seqLen: 8,
    ffn: { structure: 'lowrank', rank: 2 },
    firstFfnDense: false,
  });
  const optimizer = new AdamW(model);
  const ids = Int32Array.from({ length: 16 }, (_, i) => i % 13);
  const step = () => {
    tidy(() => {
      const batch = tensor(ids, [2, 8]);
      model.loss(batch, batch).backward(null, { releaseGraph: true });
    });
    optimizer.step({ lr: 1e-3, maxGradNorm: 1 }).gradNorm;
    optimizer.zeroGrad();
  };
  const steps = async (rounds: number) => {
    for (let i = 0; i < rounds; i++) {
      step();
      if (yielding) await nextTurn();
    }
  };
  // The heap of V8 grows for some thousands of steps, and then no more.
  const grown = await growth(count, steps, Math.max(2000, count / 5));
  optimizer.dispose();
  model.dispose();
  return grown;
}

/** Tensors that nobody disposes, and those of a graph, in a loop that never gives the event loop its turn. */
const undisposed = (count: number): Promise<Growth> =>
  growth(count, (rounds) => {
    const values = new Float32Array(4);
    for (let i = 0; i < rounds; i++) {
      tensor(values);
      if (i % 8 === 0) sum(zeros([4], { requiresGrad: true })).backward();
    }
  });

/** Jobs that run when a worker of this file is terminated from outside. */
async function worker(): Promise<void> {
  const layer = defineLinear({ structure: 'lowrank', inFeatures: 64, outFeatures: 64, rank: 16 });
  const [x, v, u] = [64 * 256, 16 * 64, 64 * 16].map((length) => new Float32Array(length).fill(0.5)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  parentPort?.postMessage('started');
  for (let i = 0; ; i++) {
    const kept = zeros([1000 + (i % 7)]);
    const jobs = [layer.forwardAsync({ x, v, u }), layer.forwardAsync({ x, v, u })];
    if (i % 2) zeros([500]).data[0] = 1;
    layer.forward({ x, v, u });
    await Promise.race(jobs);
    if (i % 3 === 0) kept.dispose();
  }
}

/** Workers that are terminated at moments that nobody chose, a few at once. */
const workers = (count: number): Promise<Growth> =>
  growth(count, async (rounds) => {
    const random = new TestRandom(7);
    const TOGETHER = 4;
    for (let i = 0; i < rounds; i += TOGETHER)
      await Promise.all(
        Array.from({ length: TOGETHER }, async () => {
          const one = new Worker(__filename, { workerData: 'worker' });
          if (random.next() < 0.8) await once(one, 'message');
          for (let turns = random.int(0, 40); turns > 0; turns--) await nextTurn();
          await one.terminate();
        }),
      );
  });

const scenarios: Readonly<Record<string, (count: number) => Promise<Growth>>> = {
  trainingWithTurns: (count) => training(count, true),
  trainingWithoutTurns: (count) => training(count, false),
  undisposed,
  workers,
};

if (!isMainThread && workerData === 'worker') void worker();
else
  void scenarios[process.argv[2] ?? '']?.(Number(process.argv[3])).then((grown) => console.log(JSON.stringify(grown)));
