/**
 * tfjs-node's backend does not install without a download, so one that offers just what it offers stands in for it: its
 * data is read by copy, and results are handed over with `write`.
 */
import * as tf from '@tensorflow/tfjs';
import { copyCounts, install } from '../../lib/tfjs';

tf.enableProdMode();

test('a backend that only reads and writes copies: results, gradients, and the bytes copied', async () => {
  const cpu = tf.findBackendFactory('cpu')();
  const hidden = new Set<PropertyKey>(['makeTensorInfo', 'makeOutput', 'typedArrayFromHeap']);
  const backend = new Proxy(cpu, { get: (target, name) => (hidden.has(name) ? undefined : Reflect.get(target, name)) });
  tf.registerBackend('tensorflow', () => backend);
  tf.copyRegisteredKernels('cpu', 'tensorflow');
  const sffn = install(tf);
  await tf.setBackend('tensorflow');
  const x = tf.tensor([[1, 2]]);
  const weight = tf.tensor([[3, 4]]);
  const before = copyCounts();
  expect([...sffn.dense(x, weight).dataSync()]).toEqual([11]);
  expect(copyCounts()).toEqual({ read: before.read + 16, written: before.written + 4 });
  expect([
    ...tf
      .grad((value: tf.Tensor) => sffn.dense(value, weight))(x)
      .dataSync(),
  ]).toEqual([3, 4]);
});
