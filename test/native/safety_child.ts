/** What safety.test.ts runs in processes of their own: scenarios that would take the process down if they went wrong. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Handle } from '../../types/native';

/** Loaded late: some scenarios load the addon in workers only. */
const load = () => require('../../lib') as typeof import('../../lib');
const loadNative = () => (require('../../lib/native') as typeof import('../../lib/native')).native;
const loadKernels = () => require('../../lib/kernels') as typeof import('../../lib/kernels');

const SIZE = 768;
const NO_STRIDES = Int32Array.of(0, 0);

/** A product of two square matrices into a third. */
function product() {
  const native = loadNative();
  const [a, b, c] = [1, 2, 0].map((value) => {
    const matrix = native.allocate(SIZE * SIZE, 0);
    loadKernels().kernels.fill({ y: matrix, value });
    return matrix;
  }) as [Handle, Handle, Handle];
  const sizes = { batch: 1, m: SIZE, n: SIZE, k: SIZE, transpose_a: 0, transpose_b: 0, accumulate: 0 };
  return { a, b, c, ...sizes, strides: NO_STRIDES };
}

/** An answer of the kernels in this thread: 2 · SIZE. */
function answer(): number {
  const call = product();
  loadKernels().kernels.matmul(call);
  return new Float32Array(loadNative().arrayBuffer(call.c))[0] ?? Number.NaN;
}

/** What a worker of this file does. */
const workers: Readonly<Record<string, () => void>> = {
  asyncJobs: () => {
    const call = product();
    for (let i = 0; i < 50; i++) void loadKernels().asyncKernels.matmul(call);
    parentPort?.postMessage('started');
  },
  syncKernels: () => {
    const call = product();
    parentPort?.postMessage('started');
    for (;;) loadKernels().kernels.matmul(call);
  },
  one: () => parentPort?.postMessage(answer()),
};

const start = (task: string): Worker => new Worker(__filename, { workerData: task });

async function terminateAfterStart(task: string): Promise<void> {
  for (let round = 0; round < 4; round++) {
    const worker = start(task);
    await once(worker, 'message');
    await worker.terminate();
  }
  console.log(answer());
}

/** Lets this process's memory, the stacks of threads among it, grow by so many bytes and no further. */
function limitGrowth(bytes: number | null): void {
  const size = 1024 * Number(/VmSize:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const limit = bytes === null ? 'unlimited' : String(size + bytes);
  const { status, stderr } = spawnSync('prlimit', [`--pid=${process.pid}`, `--as=${limit}:unlimited`]);
  if (status !== 0) throw new Error(`prlimit: ${stderr}`);
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;

function thrown(body: () => unknown): unknown {
  try {
    return body();
  } catch (error) {
    return codeOf(error);
  }
}

const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  terminateDuringAsyncJobs: () => terminateAfterStart('asyncJobs'),
  terminateDuringSyncKernels: () => terminateAfterStart('syncKernels'),

  /** The main thread never loads the addon; its threads outlive the workers that did. */
  addonInWorkersOnly: async () => {
    for (let round = 0; round < 3; round++) {
      const worker = start('one');
      const [result] = await once(worker, 'message');
      if (worker.threadId > 0) await once(worker, 'exit');
      if (round === 2) console.log(result);
    }
  },

  manyWorkers: async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const worker = start('one');
        const [[result]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
        return result;
      }),
    );
    console.log(new Set(results).size === 1 ? results[0] : results);
  },

  exitDuringAsyncJob: async () => {
    const call = product();
    for (let i = 0; i < 50; i++) void loadKernels().asyncKernels.matmul(call);
    console.log(2 * SIZE);
    process.exit();
  },

  jobKeepsTheProcessAlive: async () => {
    const native = loadNative();
    const call = product();
    loadKernels()
      .asyncKernels.matmul(call)
      .then(() => {
        console.log(new Float32Array(native.arrayBuffer(call.c))[0]);
      });
  },

  /** Exceptions of the C++ library, which no code of ours throws: a vector of 2^61 elements. */
  foreignExceptions: async () => {
    const native = loadNative();
    const one = native.allocate(1, 0);
    const { kernels, asyncKernels } = loadKernels();
    const call = { a: one, u: one, s: one, vt: one, batch: 1, m: 0, n: 2 ** 61, rank: 0 };
    const codes = [thrown(() => kernels.svd(call)), await asyncKernels.svd(call).catch(codeOf)];
    console.log(codes.every((code) => code === 'ERR_INTERNAL') ? answer() : codes);
  },

  /** Threads that the system refuses: those of the pool are done without, that of jobs is asked for again. */
  refusedThreads: async () => {
    const native = loadNative();
    const { kernels, asyncKernels } = loadKernels();
    const [many, one] = [native.allocate(200 << 15, 0), native.allocate(1, 0)];
    kernels.fill({ y: many, value: 0 });
    limitGrowth(64 << 20);
    native.setNumThreads(200);
    kernels.fill({ y: many, value: 1 }); // 200 tasks
    const threads = native.numThreads();
    limitGrowth(6 << 20); // less than the stack of a thread, and room for what Node itself needs
    const code = thrown(() => asyncKernels.fill({ y: one, value: 1 }));
    limitGrowth(null);
    await asyncKernels.fill({ y: one, value: 1 });
    console.log(threads > 1 && threads < 200 && code === 'ERR_THREAD' ? answer() : [threads, code]);
  },

  /** Tensors that nobody disposed, half of them with their data read, are freed with the garbage. */
  garbage: async () => {
    const { memoryStats, zeros } = load();
    const bytes = 4 << 16;
    const before = memoryStats().allocated;
    for (let i = 0; i < 200; i++) {
      const tensor = zeros([1 << 16]);
      if (i % 2 === 0) tensor.data[0] = 1;
    }
    const held = memoryStats().allocated - before;
    // The stack may still show the last one to the collector.
    const freed = () => memoryStats().allocated - before <= bytes;
    for (let i = 0; i < 20 && !freed(); i++) {
      global.gc?.();
      await new Promise(setImmediate);
    }
    const left = memoryStats().allocated - before;
    console.log(held > 10 * bytes && freed() ? 2 * SIZE : `held ${held}, left ${left}`);
  },
};

if (isMainThread) void scenarios[process.argv[2] ?? '']?.();
else workers[String(workerData)]?.();
