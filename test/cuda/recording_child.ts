/** A worker that touches the device or its memory in the way that it is told, again and again; its errors, at the end. */
import { parentPort, workerData } from 'node:worker_threads';
import { emptyCache, memoryStats, resetPeakMemory, setMemoryLimit, synchronize, zeros } from '../../lib';

/** Calls made, which kind they are. */
const shared = workerData as Int32Array;
const { limit } = memoryStats('cuda');
const held = zeros([10], { device: 'cuda' });
const calls = [
  () => synchronize(),
  () => emptyCache('cuda'),
  () => setMemoryLimit(limit, 'cuda'),
  () => memoryStats('cuda'),
  () => resetPeakMemory('cuda'),
  () => zeros([3_000_000], { device: 'cuda' }).dispose(),
  () => held.toArray(),
];
const errors: string[] = [];
for (let kind = 0; kind < calls.length; kind = Atomics.load(shared, 1)) {
  try {
    calls[kind]!();
  } catch (error) {
    errors.push(`${calls[kind]}: ${(error as Error).message}`);
  }
  Atomics.add(shared, 0, 1);
  Atomics.notify(shared, 0);
}
held.dispose();
parentPort?.postMessage(errors.slice(0, 5));
