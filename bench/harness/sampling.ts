/** Timing: tinybench takes the samples of one contender; contenders take turns, round after round. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Contender } from './contender';
import { groupBy } from './group_by';

/** Thread pools keep spinning for a while after a call and would take cores from the next side. */
const GAP_MILLISECONDS = 20;

export interface SamplingOptions {
  /** Of one contender in one round. */
  readonly milliseconds: number;
  readonly rounds: number;
}

/** Milliseconds per call of `body`, called for about `milliseconds` and at least once. */
export async function timeCalls(body: () => void, milliseconds: number): Promise<number[]> {
  const { Bench } = await import('tinybench');
  const bench = new Bench({ time: milliseconds, iterations: 1, warmup: false, retainSamples: true, throws: true });
  bench.add('call', body);
  const [task] = bench.runSync();
  const result = task?.result;
  if (!result || !('latency' in result)) throw new Error('tinybench gave no samples');
  return [...(result.latency.samples ?? [])];
}

/** Calls `body` for about `milliseconds`, at least once: the time of each call. */
export async function timeAsyncCalls(body: () => Promise<unknown>, milliseconds: number): Promise<number[]> {
  const samples: number[] = [];
  const end = performance.now() + milliseconds;
  for (let now = performance.now(); samples.length === 0 || now < end; now = performance.now()) {
    await body();
    samples.push(performance.now() - now);
  }
  return samples;
}

/**
 * All samples of each contender. Temporary disturbances of the machine affect all contenders alike. Every second round
 * goes backwards, so that a contender does not always follow the same one. The first round warms up and does not count.
 * Contenders of one side follow each other, so that thread pools change as rarely as possible.
 */
export async function interleave(
  contenders: readonly Contender[],
  { milliseconds, rounds }: SamplingOptions,
): Promise<Map<Contender, number[]>> {
  const samples = new Map(contenders.map((contender): [Contender, number[]] => [contender, []]));
  const sideBySide = [...groupBy(contenders, (contender) => contender.side).values()].flat();
  let side = '';
  for (let round = 0; round <= rounds; round++) {
    for (const contender of round % 2 === 0 ? sideBySide : sideBySide.toReversed()) {
      if (contender.side !== side) await sleep(GAP_MILLISECONDS);
      side = contender.side;
      const taken = await contender.sample(round === 0 ? milliseconds / 4 : milliseconds);
      if (round > 0) samples.get(contender)?.push(...taken);
    }
  }
  return samples;
}
