/** What collections.test.ts runs in processes of their own, where nothing else makes garbage: prints what V8 collected. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { memoryStats, setMemoryLimit, type Tensor, tensor, zeros } from '../../lib';
import { Trainer } from '../../lib/train';

const MEBIBYTE = 1 << 20;

/** Collections so far: `major` are those of the whole heap, finished or begun; `minor` those of its youngest objects. */
const collections = { major: 0, minor: 0 };
const MAJOR = [constants.NODE_PERFORMANCE_GC_MAJOR, constants.NODE_PERFORMANCE_GC_INCREMENTAL];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { kind } = (entry as PerformanceEntry & { detail: { kind: number } }).detail;
    if (MAJOR.includes(kind)) collections.major++;
    else if (kind === constants.NODE_PERFORMANCE_GC_MINOR) collections.minor++;
  }
}).observe({ entryTypes: ['gc'] });

/** What is collected while `body` runs; observers hear of it some turns later. */
async function collected(body: () => Promise<void>): Promise<{ major: number; minor: number }> {
  const settle = async () => {
    for (let i = 0; i < 10; i++) await nextTurn();
  };
  await settle();
  const before = { ...collections };
  await body();
  await settle();
  return { major: collections.major - before.major, minor: collections.minor - before.minor };
}

const scenarios: Readonly<Record<string, () => Promise<unknown>>> = {
  /** Steps whose intermediates are three times what V8 lets external memory grow by before it collects. */
  training: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'collections-'));
    try {
      const train = join(folder, 'train.bin');
      writeFileSync(train, new Uint8Array(Uint16Array.from({ length: 40_000 }, (_, i) => i % 29).buffer));
      using trainer = new Trainer({
        model: {
          vocabSize: 29,
          dModel: 8,
          nLayers: 3,
          nHeads: 1,
          dFF: 768,
          seqLen: 64,
          activation: 'relu',
          ffn: { structure: 'lowrank', rank: 1 },
          firstFfnDense: false,
        },
        data: { train, dtype: 'uint16' },
        steps: 40,
        batchSize: 256,
        learningRate: 1e-3,
      });
      const take = async (count: number) => {
        for (let i = 0; i < count; i++) await trainer.takeStep();
      };
      await take(3);
      const { allocated } = memoryStats();
      const steady = await collected(() => take(30));
      return { ...steady, left: memoryStats().allocated - allocated, peak: memoryStats().peak / MEBIBYTE };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },

  /** 4 GiB that nobody disposes, in a loop that gives the event loop its turn. */
  garbage: async () => {
    const found = await collected(async () => {
      for (let i = 0; i < 256; i++) {
        zeros([4 * MEBIBYTE]);
        await nextTurn();
      }
    });
    return { ...found, peak: memoryStats().peak / MEBIBYTE };
  },

  /** The same beside 1 GiB that stays: rarer collections. */
  garbageBesideMuch: async () => {
    using kept = zeros([256 * MEBIBYTE]);
    const found = await collected(async () => {
      for (let i = 0; i < 256; i++) {
        zeros([4 * MEBIBYTE]);
        await nextTurn();
      }
    });
    return { ...found, kept: kept.size, peak: memoryStats().peak / MEBIBYTE };
  },

  /** Under a limit that holds little beside what stays: collected before that is reached. */
  garbageUnderLimit: async () => {
    setMemoryLimit(700 * MEBIBYTE);
    using kept = zeros([128 * MEBIBYTE]);
    const found = await collected(async () => {
      for (let i = 0; i < 256; i++) {
        zeros([4 * MEBIBYTE]);
        await nextTurn();
      }
    });
    return { ...found, kept: kept.size, peak: memoryStats().peak / MEBIBYTE };
  },

  /** Of 60 MiB, 48 are garbage: nothing is refused that fits without it. */
  refusal: async () => {
    setMemoryLimit(60 * MEBIBYTE);
    for (let i = 0; i < 3; i++) zeros([4 * MEBIBYTE]);
    for (let i = 0; i < 5; i++) zeros([12 * MEBIBYTE]);
    return { refused: 0 };
  },

  /** Garbage of a program that allocates nothing more. */
  idle: async () => {
    const { allocated } = memoryStats();
    for (let i = 0; i < 100; i++) zeros([1000]);
    global.gc?.();
    for (let i = 0; i < 3; i++) await nextTurn();
    return { left: memoryStats().allocated - allocated };
  },

  /** Tensors made in a loop that never gives the event loop its turn leave nothing behind. */
  noTurn: () => noTurn((x) => x.dispose()),
  noTurnUndisposed: () => noTurn(() => {}),
};

async function noTurn(end: (x: Tensor) => void): Promise<unknown> {
  const values = new Float32Array(4);
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      const x = tensor(values);
      x.toArray();
      end(x);
    }
  };
  const heap = () => {
    global.gc?.();
    const { heapUsed, arrayBuffers, external } = process.memoryUsage();
    return heapUsed + arrayBuffers + external;
  };
  rounds(1000);
  const before = [heap(), process.memoryUsage.rss()] as const;
  rounds(200_000);
  return { heap: heap() - before[0], rss: process.memoryUsage.rss() - before[1] };
}

void scenarios[process.argv[2] ?? '']?.().then((result) => console.log(JSON.stringify(result)));
