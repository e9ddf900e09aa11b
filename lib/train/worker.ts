/** The thread that `trainInWorker` starts: it runs the training and posts its events. */
import { parentPort, workerData } from 'node:worker_threads';
import { SffnError } from '../errors';
import { type RunSource, train } from './run';

async function main(port: NonNullable<typeof parentPort>): Promise<void> {
  const controller = new AbortController();
  port.on('message', () => controller.abort());
  try {
    for await (const event of train(workerData as RunSource, { signal: controller.signal }))
      port.postMessage({ event });
    port.postMessage({ done: true });
  } catch (error) {
    const { message, stack } = error as Error;
    port.postMessage({ error: { code: error instanceof SffnError ? error.code : null, message, stack } });
  }
  port.close();
}

if (parentPort) void main(parentPort);
