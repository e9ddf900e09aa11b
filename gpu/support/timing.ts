/** Times of calls that only enqueue work on a device. */
import { type Device, synchronize } from '../../lib/device';

/** Makes the clock wait for the device. */
export function settle(device: Device): void {
  if (device === 'cuda') synchronize();
}

export interface CallTime {
  /** Time of a call when many follow each other. */
  readonly milliseconds: number;
  /** Time that the host needs to enqueue it. */
  readonly enqueueMilliseconds: number;
}

/** The length of a run; the middle one of three counts. */
const RUN_MILLISECONDS = 40;

export function timeCalls(device: Device, body: () => void): CallTime {
  const run = (calls: number): CallTime => {
    settle(device);
    const begin = performance.now();
    for (let i = 0; i < calls; i++) body();
    const enqueued = performance.now();
    settle(device);
    return { milliseconds: (performance.now() - begin) / calls, enqueueMilliseconds: (enqueued - begin) / calls };
  };
  run(2);
  const calls = Math.ceil(RUN_MILLISECONDS / Math.max(0.01, run(1).milliseconds));
  return median(
    [1, 2, 3].map(() => run(Math.min(2000, Math.max(3, calls)))),
    ({ milliseconds }) => milliseconds,
  );
}

/** The value with the middle `key`; of an even number of values, the upper of the two. */
export function median<T>(values: readonly T[], key: (value: T) => number): T {
  return [...values].sort((a, b) => key(a) - key(b))[values.length >> 1]!;
}

/** Rounded to this many digits after the point, for files that people read. */
export const round = (value: number, digits: number): number => Number(value.toFixed(digits));
