/** The messages between the load suite and its child. */
import { fork } from 'node:child_process';
import { join } from 'node:path';

export interface LoadTask {
  /** A checkpoint folder. */
  readonly path: string;
}

export interface LoadUse {
  /** From the call to the logits of the first token. */
  readonly milliseconds: number;
  /** The most bytes by which the process grew meanwhile. */
  readonly peak: number;
}

/** Loads a checkpoint in a fresh process. */
export function measureLoad(task: LoadTask): Promise<LoadUse> {
  const child = fork(join(__dirname, 'load_child.ts'));
  return new Promise((resolve, reject) => {
    child.once('message', (use: LoadUse) => resolve(use));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the load suite's process ended with code ${code}`)));
    child.send(task);
  });
}
