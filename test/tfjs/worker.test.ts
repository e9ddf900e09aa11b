/** tfjs with our kernels in several threads at once, on parameters that they share. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

const ROOT = join(__dirname, '..', '..');
const FEATURES = 32;

const shared = (length: number) => new Float32Array(new SharedArrayBuffer(4 * length));

function run(weight: Float32Array, gradient: Float32Array, rows: number): Promise<void> {
  const worker = new Worker(join(__dirname, 'worker_child.ts'), {
    execArgv: ['-r', join(ROOT, 'scripts', 'register_ts.cjs')],
    workerData: { weight, gradient, rows },
  });
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', () => worker.terminate().then(() => resolve()));
  });
}

test('workers compute gradients on shared parameters into shared memory', async () => {
  const weight = shared(FEATURES * FEATURES).fill(0.5);
  const gradients = [1, 2, 3].map((rows) => ({ rows, gradient: shared(weight.length) }));
  await Promise.all(gradients.map(({ rows, gradient }) => run(weight, gradient, rows)));
  for (const { rows, gradient } of gradients) expect(gradient.every((value) => value === rows)).toBe(true);
}, 60_000);
