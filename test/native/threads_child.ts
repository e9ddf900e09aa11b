/**
 * What threads.test.ts runs in a process of its own: threads of JavaScript that compute at once, synchronously and with jobs,
 * while the number of threads, the limit and the cache change under them. npm run test:threads runs it under ThreadSanitizer.
 */
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { emptyCache, getIsa, memoryStats, resetPeakMemory, setMemoryLimit, tensor, tidy } from '../../lib';
import { Decoder } from '../../lib/decode';
import { defineLinear } from '../../lib/functional';
import { native } from '../../lib/native';
import { TransformerLM } from '../../lib/nn';
import { AdamW } from '../../lib/optim';
import { TestRandom } from '../support/random';

const [rounds = 3, workers = 3]: number[] = isMainThread ? process.argv.slice(2).map(Number) : [workerData];

const MODEL = {
  vocabSize: 40,
  dModel: 24,
  nLayers: 1,
  nHeads: 2,
  seqLen: 48,
  ffn: { structure: 'lowrank', rank: 6 },
} as const;

/** Jobs beside synchronous calls; both are of several tasks. */
async function layers(): Promise<number[]> {
  const random = new TestRandom(1);
  const layer = defineLinear({ structure: 'blockshuffle', inFeatures: 96, outFeatures: 192, nblocks: 3 });
  const size = (shape: readonly number[] | null) => (shape ?? []).reduce((n, s) => n * s, 1);
  const inputs = {
    x: random.array(96 * 200),
    v: random.array(size(layer.shapes.v)),
    u: random.array(size(layer.shapes.u)),
  };
  const jobs = [layer.forwardAsync(inputs), layer.forwardAsync(inputs)];
  const { y } = layer.forward(inputs);
  for (const job of await Promise.all(jobs))
    if (!job.y.every((value, i) => value === y[i])) throw new Error('a job differs');
  return [y[0]!, y.at(-1)!];
}

/** Jobs that nobody waits for, whose memory is given back meanwhile. */
async function abandoned(): Promise<number[]> {
  const layer = defineLinear({ structure: 'dense', inFeatures: 32, outFeatures: 32 });
  const [x, u] = [new Float32Array(32 * 64).fill(0.5), new Float32Array(32 * 32).fill(0.25)];
  const job = layer.forwardAsync({ x, u });
  x.fill(Number.NaN);
  emptyCache();
  return [(await job).y[5]!];
}

/** Two decoders of one model at once. */
async function decoding(): Promise<number[]> {
  const model = new TransformerLM(MODEL);
  const run = async () => {
    using decoder = new Decoder(model);
    using sequence = decoder.sequence();
    const logits = await decoder.prefill(sequence, [1, 2, 3, 4, 5, 6, 7, 8]);
    const [next] = await decoder.step([{ sequence, ids: [9] }]);
    return [logits[3]!, next![4]!];
  };
  const [a, b] = await Promise.all([run(), run()]);
  if (a?.join() !== b?.join()) throw new Error('two decoders differ');
  model.dispose();
  return a!;
}

async function training(): Promise<number[]> {
  const model = new TransformerLM(MODEL);
  const optimizer = new AdamW(model);
  const losses: number[] = [];
  for (let i = 0; i < 2; i++) {
    losses.push(
      tidy(() => {
        const ids = tensor(new Int32Array(96).fill(3), [2, 48]);
        const loss = model.loss(ids, ids);
        loss.backward(null, { releaseGraph: true });
        return loss.item();
      }),
    );
    optimizer.step({ lr: 1e-2 });
    optimizer.zeroGrad();
    await nextTurn();
  }
  optimizer.dispose();
  model.dispose();
  return losses;
}

async function everything(): Promise<string> {
  const found = new Set<string>();
  for (let i = 0; i < rounds; i++)
    found.add((await Promise.all([layers(), abandoned(), decoding(), training()])).flat().join());
  return [...found].join(' and ');
}

async function main(): Promise<void> {
  const started = Array.from({ length: workers }, () => new Worker(__filename, { workerData: rounds }));
  const results = started.map(async (worker) => {
    const [[answer]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    return answer as string;
  });
  const { limit } = memoryStats();
  let done = false;
  const all = Promise.all([everything(), ...results]).finally(() => {
    done = true;
  });
  for (let i = 0; !done; i++) {
    native.setNumThreads(1 + (i % 4));
    if (i % 3 === 0) emptyCache();
    if (i % 5 === 0) resetPeakMemory();
    setMemoryLimit(limit - (i % 2));
    getIsa();
    await nextTurn();
  }
  const answers = new Set(await all);
  console.log(answers.size === 1 ? 'the same everywhere' : [...answers].join('\n'));
}

if (isMainThread) void main();
else void everything().then((answer) => parentPort?.postMessage(answer));
