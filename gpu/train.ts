/** Stage e, ours: training steps of the paper's models, with the time of the host and of V8's garbage collector. */
import { PerformanceObserver } from 'node:perf_hooks';
import { emptyCache, memoryStats, resetPeakMemory, tensor, tidy } from '../lib';
import { presetConfig, TransformerLM } from '../lib/nn';
import { AdamW } from '../lib/optim';
import { type ModelJob, trainingJobs } from './problems';
import { RepeatedDraws } from './support/draws';
import { Script } from './support/options';
import { OURS } from './support/rows';
import { median, round, settle } from './support/timing';

const script = new Script();
const { device, dtype, size } = script;

// Device memory counts as external memory of V8 (native/addon.cc), so there is a reason to collect.
const collected = { count: 0, milliseconds: 0 };
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    collected.count++;
    collected.milliseconds += duration;
  }
}).observe({ entryTypes: ['gc'] });
/** Observers are told later than it happens. */
const observersAreTold = () => new Promise((resolve) => setTimeout(resolve, 5));

const [WARM_UP, MOST_STEPS, FEWEST_STEPS] = size === 'full' ? [3, 8, 3] : [1, 2, 1];

async function measure({ name, preset, variant, batch, vocabSize, seqLen }: ModelJob): Promise<void> {
  const begin = performance.now();
  const { structure, ratio, nblocks } = variant;
  const ffn = structure === 'dense' ? { structure } : { structure, ratio, nblocks, init: 'xavier' as const };
  const config = presetConfig(preset, { ffn, vocabSize });
  const model = new TransformerLM(config, { generator: new RepeatedDraws(1) });
  model.to(device, dtype);
  const optimizer = new AdamW(model.namedParameters());
  const tokens = batch * seqLen;
  const values = Int32Array.from({ length: tokens }, (_, i) => (i * 2654435761) % vocabSize);
  const ids = tensor(values, [batch, seqLen], { device });
  const losses: number[] = [];

  /** The loss, and the time when everything except the optimizer was enqueued. */
  const step = () => {
    const loss = tidy(() => {
      const value = model.loss(ids, ids);
      value.backward(null, { releaseGraph: true });
      return value;
    });
    const enqueued = performance.now();
    optimizer.step({ lr: 1e-4, maxGradNorm: 1 });
    losses.push(round(loss.item(), 4));
    loss.dispose();
    optimizer.zeroGrad();
    return enqueued;
  };

  settle(device);
  const ready = performance.now();
  for (let i = 0; i < WARM_UP; i++) step();
  await observersAreTold();
  collected.count = collected.milliseconds = 0;
  const asked = memoryStats(device).systemAllocations;
  const steps: { whole: number; enqueue: number }[] = [];
  while (steps.length < FEWEST_STEPS || (steps.length < MOST_STEPS && !script.timeIsUp)) {
    const start = performance.now();
    const enqueued = step();
    steps.push({ whole: performance.now() - start, enqueue: enqueued - start });
  }
  const { systemAllocations, peak } = memoryStats(device);
  await observersAreTold();
  const { whole } = median(steps, (one) => one.whole);
  script.emit({
    kind: 'training',
    side: OURS,
    job: name,
    tokens,
    milliseconds: round(whole, 3),
    tokensPerSecond: Math.round((1e3 * tokens) / whole),
    peakGigabytes: round(peak / 1e9, 2),
    setupSeconds: round((ready - begin) / 1e3, 1),
    losses,
    tflops: round((3 * model.flopsPerToken().total * tokens) / whole / 1e9, 3),
    enqueueMilliseconds: round(median(steps, (one) => one.enqueue).enqueue, 3),
    collections: round(collected.count / steps.length, 1),
    collectionMilliseconds: round(collected.milliseconds / steps.length, 2),
    systemAllocations: systemAllocations - asked,
  });
  optimizer.dispose();
  model.dispose();
  ids.dispose();
  emptyCache(device);
  resetPeakMemory(device);
}

async function main(): Promise<void> {
  const jobs = trainingJobs(size);
  let done = 0;
  for (const job of jobs) {
    if (script.timeIsUp) break;
    await measure(job).then(
      () => done++,
      (error) => script.fail(job.name, error),
    );
  }
  script.emit({ kind: 'coverage', side: OURS, done, of: jobs.length });
}

void main();
