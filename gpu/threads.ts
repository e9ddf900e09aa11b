/**
 * Stage b: behaviour that only a real stream shows. Steps of a decoder run on the job thread while the main thread
 * waits for the device and empties its cache, and two workers train. Each result must have the same bits every time,
 * and nothing may throw.
 */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { emptyCache, linear, square, sum, tidy } from '../lib';
import { Decoder } from '../lib/decode';
import type { Device } from '../lib/device';
import { TransformerLM } from '../lib/nn';
import { Generator } from '../lib/random';
import { Script } from './support/options';
import { settle } from './support/timing';

interface Work {
  readonly device: Device;
  readonly rounds: number;
  readonly rows: number;
}

const bits = (values: ArrayLike<number>): string => Buffer.from(Float32Array.from(values).buffer).toString('latin1');

function train({ device, rounds, rows }: Work): void {
  const seen = new Set<string>();
  for (let round = 0; round < rounds; round++)
    tidy(() => {
      const [x, w] = [new Generator(1).normal([rows, 256]).to(device), new Generator(2).normal([512, 256]).to(device)];
      for (const leaf of [x, w]) leaf.requiresGrad = true;
      sum(square(linear(x, w))).backward();
      seen.add(bits(w.grad!.toArray()));
      if (seen.size > 1) throw new Error(`the gradient of round ${round} has other bits`);
      for (const leaf of [x, w]) leaf.grad!.dispose();
    });
}

async function decode(script: Script, rounds: number): Promise<void> {
  const { device, size } = script;
  const config = { dModel: size === 'full' ? 256 : 64, nLayers: 4, nHeads: 4, vocabSize: 100, seqLen: 1024 };
  const model = new TransformerLM(config).to(device).eval();
  const seen = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    using decoder = new Decoder(model, { dtype: 'bfloat16' });
    const sequences = Array.from({ length: 1 + (round % 6) }, () => decoder.sequence());
    for (const sequence of sequences) await decoder.prefill(sequence, [1, 2, 3, 4, 5]);
    for (let i = 0; i < 8; i++) {
      let done = false;
      const step = decoder.step(sequences.map((sequence) => ({ sequence, ids: [7] }))).finally(() => {
        done = true;
      });
      // Otherwise the rejection would be unhandled while this thread is busy below.
      step.catch(() => {});
      while (!done) {
        settle(device);
        emptyCache(device);
        await new Promise(setImmediate);
      }
      const logits = bits((await step)[0]!);
      const key = `step ${i} of ${sequences.length}`;
      if ((seen.get(key) ?? logits) !== logits) throw new Error(`${key} has other logits in round ${round}`);
      seen.set(key, logits);
    }
  }
}

async function main(): Promise<void> {
  const script = new Script();
  const { device, size } = script;
  const check = async (name: string, work: Promise<unknown>) => {
    const failure = await work.then(
      () => undefined,
      (error: Error) => error.message,
    );
    script.emit({ kind: 'check', suite: 'threads', name, passed: failure === undefined, detail: failure });
    if (failure !== undefined) process.exitCode = 1;
  };
  const [rounds, rows] = size === 'full' ? [60, 300] : size === 'small' ? [5, 300] : [1, 40];
  const worker = () =>
    new Promise<void>((resolve, reject) => {
      const work: Work = { device, rounds, rows };
      const thread = new Worker(__filename, { workerData: work });
      thread.on('error', reject);
      thread.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a worker exited with ${code}`))));
    });
  await Promise.all([
    check('a worker trains', worker()),
    check('another worker trains', worker()),
    check('decoding while the main thread synchronizes', decode(script, size === 'full' ? 12 : 2)),
  ]);
}

if (isMainThread) void main();
else train(workerData as Work);
