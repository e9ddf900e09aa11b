/** A worker that touches the device and its memory in every way, again and again; its errors, once it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads';
import { emptyCache, memoryStats, resetPeakMemory, setMemoryLimit, synchronize, zeros } from '../../lib';

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
for (let i = 0; Atomics.load(shared, 1) === 0; i++) {
  try {
    calls[i % calls.length]!();
  } catch (error) {
    errors.push((error as Error).message);
  }
  Atomics.add(shared, 0, 1);
  Atomics.notify(shared, 0);
}
held.dispose();
parentPort?.postMessage(errors.slice(0, 5));
