/** For tests that count memory. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Device, emptyCache, memoryStats, setMemoryLimit } from '../../lib';

/**
 * Collects what earlier tests of the process left, those of other files too: it would be given back during the
 * count. Returns the bytes in use then.
 */
export async function allocatedWithoutGarbage(device: Device = 'cpu'): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  for (;;) {
    const before = memoryStats(device).allocated;
    collect();
    await nextTurn();
    await nextTurn();
    const { allocated } = memoryStats(device);
    if (allocated === before) return allocated;
  }
}

/** Runs `body` where no more than `spare` further bytes can be had: garbage and kept blocks would be more of them. */
export async function withSpareMemory(spare: number, device: Device, body: () => unknown): Promise<void> {
  const { limit } = memoryStats(device);
  const allocated = await allocatedWithoutGarbage(device);
  emptyCache(device);
  setMemoryLimit(allocated + spare, device);
  try {
    await body();
  } finally {
    setMemoryLimit(limit, device);
  }
}
