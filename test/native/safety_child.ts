/** What safety.test.ts runs in processes of their own: scenarios that would take the process down if they went wrong. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Handle } from '../../types/native';

/** Loaded late: some scenarios load the addon in workers only. */
const load = () => require('../../lib') as typeof import('../../lib');
const loadNative = () => (require('../../lib/native') as typeof import('../../lib/native')).native;

const SIZE = 768;
const NO_STRIDES = Int32Array.of(0, 0);

/** Three square matrices and the product of two of them into the third. */
function product(): { operands: [Handle, Handle, Handle]; sizes: [1, number, number, number, 0, 0, Int32Array, 0] } {
  const native = loadNative();
  const allocate = () => native.allocate(SIZE * SIZE, 0);
  const operands: [Handle, Handle, Handle] = [allocate(), allocate(), allocate()];
  native.fill(operands[0], 1);
  native.fill(operands[1], 2);
  return { operands, sizes: [1, SIZE, SIZE, SIZE, 0, 0, NO_STRIDES, 0] };
}

/** An answer of the kernels in this thread: 2 · SIZE. */
function answer(): number {
  const native = loadNative();
  const { operands, sizes } = product();
  native.matmul(...operands, ...sizes);
  return new Float32Array(native.arrayBuffer(operands[2]))[0] ?? Number.NaN;
}

/** What a worker of this file does. */
const workers: Readonly<Record<string, () => void>> = {
  asyncJobs: () => {
    const { operands, sizes } = product();
    for (let i = 0; i < 50; i++) void loadNative().async.matmul(...operands, ...sizes);
    parentPort?.postMessage('started');
  },
  syncKernels: () => {
    const { operands, sizes } = product();
    parentPort?.postMessage('started');
    for (;;) loadNative().matmul(...operands, ...sizes);
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
    const { operands, sizes } = product();
    for (let i = 0; i < 50; i++) void loadNative().async.matmul(...operands, ...sizes);
    console.log(2 * SIZE);
    process.exit();
  },

  jobKeepsTheProcessAlive: async () => {
    const native = loadNative();
    const { operands, sizes } = product();
    native.async.matmul(...operands, ...sizes).then(() => {
      console.log(new Float32Array(native.arrayBuffer(operands[2]))[0]);
    });
  },

  /** Exceptions of the C++ library, which no code of ours throws: a vector of 2^61 elements. */
  foreignExceptions: async () => {
    const native = loadNative();
    const one = native.allocate(1, 0);
    const sizes = [1, 0, 2 ** 61, 0] as const;
    const codes = [
      thrown(() => native.svd(one, one, one, one, ...sizes)),
      await native.async.svd(one, one, one, one, ...sizes).catch(codeOf),
    ];
    console.log(codes.every((code) => code === 'ERR_INTERNAL') ? answer() : codes);
  },

  /** Threads that the system refuses: those of the pool are done without, that of jobs is asked for again. */
  refusedThreads: async () => {
    const native = loadNative();
    const [many, one] = [native.allocate(200 << 15, 0), native.allocate(1, 0)];
    native.fill(many, 0);
    limitGrowth(64 << 20);
    native.setNumThreads(200);
    native.fill(many, 1); // 200 tasks
    const threads = native.numThreads();
    limitGrowth(1 << 20);
    const code = thrown(() => native.async.fill(one, 1));
    limitGrowth(null);
    await native.async.fill(one, 1);
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
