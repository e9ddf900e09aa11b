/** Training in a separate thread, so that the caller's event loop stays free. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { checkSignal, withClassOf } from '../errors';
import { checkKeys } from '../options';
import { checkSource, type RunOptions, type RunSource, type TrainEvent } from './run';
import { DivergedError } from './trainer';

interface WorkerMessage {
  readonly event?: TrainEvent;
  readonly done?: boolean;
  readonly error?: { readonly code: string | null; readonly message: string; readonly stack: string };
}

/** Next to this file in a build; if this file runs from its TypeScript source, in the build's folder. */
function workerPath(): string {
  const beside = join(__dirname, 'worker.js');
  return existsSync(beside) ? beside : join(__dirname, '..', '..', 'dist', 'train', 'worker.js');
}

/**
 * `train` in a worker thread: the same events, the same errors. Ending the loop early stops the thread after its step.
 */
export async function* trainInWorker(source: RunSource, options: RunOptions = {}): AsyncGenerator<TrainEvent> {
  checkKeys('trainInWorker', options, { signal: 0 });
  checkSource('trainInWorker', source);
  const { signal } = options;
  if (signal !== undefined) checkSignal('trainInWorker: signal', signal);
  const worker = new Worker(workerPath(), { workerData: source });
  const messages: WorkerMessage[] = [];
  let wake: () => void = () => {};
  const receive = (message: WorkerMessage) => {
    messages.push(message);
    wake();
  };
  worker.on('message', receive);
  worker.on('error', ({ message, stack = '' }) => receive({ error: { code: null, message, stack } }));
  const stop = () => worker.postMessage('stop');
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  const exited = new Promise<void>((resolve) => {
    worker.once('exit', (status) => {
      receive({ error: { code: null, message: `the training thread ended with status ${status}`, stack: '' } });
      resolve();
    });
  });
  try {
    for (;;) {
      while (messages.length === 0)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      const { event, done, error } = messages.shift()!;
      if (error) throw rebuilt(error);
      if (done) return;
      if (event) yield event;
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
    await exited;
  }
}

function rebuilt({ code, message, stack }: NonNullable<WorkerMessage['error']>): Error {
  const error = code === null ? new Error(message) : withClassOf(code, message, { ERR_DIVERGED: DivergedError });
  error.stack = stack;
  return error;
}
