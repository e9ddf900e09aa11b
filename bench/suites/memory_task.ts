/** The messages between the memory suite and its child. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Isa } from '../../lib/device';
import type { ModelSize } from '../harness/our_model';
import type { Placement } from '../harness/side';
import type { Variant } from '../harness/variants';

/**
 * Which scratch buffers exist at once depends on the timing of two threads: only after a few steps has the cache seen
 * all.
 */
export const WARM_STEPS = 6;
export const STEADY_STEPS = 5;

export interface MemoryTask {
  readonly variant: Variant;
  readonly size: ModelSize;
  readonly placement: Placement;
  readonly isa: Isa;
  readonly threads: number;
}

export interface MemoryUse {
  /** The most bytes by which the process grew. */
  readonly peak: number;
  /** Of the system, per steady step. */
  readonly allocations: number;
}

/** Trains in a fresh process. */
export function measureMemory(task: MemoryTask): Promise<MemoryUse> {
  const child = fork(join(__dirname, 'memory_child.ts'));
  return new Promise((resolve, reject) => {
    child.once('message', (use: MemoryUse) => resolve(use));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the memory suite's process ended with code ${code}`)));
    child.send(task);
  });
}
