/**
 * Stage b: a worker calls synchronize() all the time while decoding steps are recorded as CUDA graphs. A stream must
 * not be waited for while it records. Neither may fail.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { synchronize } from '../lib';
import { Decoder } from '../lib/decode';
import { TransformerLM } from '../lib/nn';
import { Script } from './support/options';

/** A step that still runs this long after the time is up will never end. */
const OVERDUE_MILLISECONDS = 3000;

/** How often something was done and how often it failed, with the first failure. */
class Tally {
  done = 0;
  failed = 0;
  first = '';

  note(error: unknown): void {
    this.failed++;
    this.first ||= error instanceof Error ? error.message : String(error);
  }
}

function synchronizeUntilTold(): void {
  const tally = new Tally();
  let told = false;
  parentPort!.once('message', () => {
    told = true;
  });
  const some = () => {
    for (let i = 0; i < 100; i++) {
      tally.done++;
      try {
        synchronize();
      } catch (error) {
        tally.note(error);
      }
    }
    if (told) parentPort!.postMessage(tally);
    else setImmediate(some);
  };
  some();
}

/** A step of each of nine sizes, of which eight are kept: so each is recorded anew. */
async function recordSteps(script: Script, tally: Tally): Promise<void> {
  const model = new TransformerLM({ dModel: 32, nLayers: 12, nHeads: 2, vocabSize: 50, seqLen: 64 }).to('cuda').eval();
  using decoder = new Decoder(model);
  do {
    for (let batch = 1; batch <= 9 && !script.timeIsUp; batch++) {
      const sequences = Array.from({ length: batch }, () => decoder.sequence());
      tally.done++;
      await decoder.step(sequences.map((sequence) => ({ sequence, ids: [7] }))).catch((error) => tally.note(error));
      for (const sequence of sequences) sequence.dispose();
    }
  } while (!script.timeIsUp);
}

async function main(): Promise<void> {
  const script = new Script();
  const steps = new Tally();
  const worker = new Worker(__filename);
  const synchronized = new Promise<Tally>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const overdue = setTimeout(
    () => {
      const detail = `${steps.done} steps were begun, ${steps.failed} of them failed${steps.first && `: ${steps.first}`}`;
      script.emit({ kind: 'check', suite: 'capture', name: 'a step ends', passed: false, detail });
      process.exit(1);
    },
    1e3 * script.seconds + OVERDUE_MILLISECONDS,
  );
  await recordSteps(script, steps);
  worker.postMessage('stop');
  const waits = await synchronized;
  clearTimeout(overdue);
  for (const [name, { done, failed, first }] of [
    ['steps recorded while another thread synchronizes', steps],
    ['synchronize() while steps are recorded', waits],
  ] as const) {
    const passed = failed === 0 && done > 0;
    const detail = `${done} calls, ${failed} failed${first && `: ${first}`}`;
    script.emit({ kind: 'check', suite: 'capture', name, passed, detail });
    if (!passed) process.exitCode = 1;
  }
}

if (isMainThread) void main();
else synchronizeUntilTold();
