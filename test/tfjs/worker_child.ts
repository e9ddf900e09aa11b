/** A worker of its own tfjs: parameters from shared memory, one gradient step's worth of them written back. */
import { parentPort, workerData } from 'node:worker_threads';
import * as tf from '@tensorflow/tfjs';
import { install } from '../../lib/tfjs';

const { weight, gradient, rows } = workerData as { weight: Float32Array; gradient: Float32Array; rows: number };

async function main(): Promise<void> {
  tf.enableProdMode();
  await tf.setBackend('cpu');
  const sffn = install(tf);
  const features = Math.sqrt(weight.length);
  const x = tf.ones([rows, features]);
  tf.tidy(() => {
    const w = tf.tensor2d(weight, [features, features]);
    const loss = (value: tf.Tensor) => tf.sum(sffn.dense(x, value));
    gradient.set(tf.grad(loss)(w).dataSync());
  });
  parentPort?.postMessage('done');
}

main();
