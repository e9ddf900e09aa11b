/** Faults of the file system, at the n-th call that changes something. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';

/** The calls by which the library changes what is on the disk. */
const CALLS = [
  'openSync',
  'writeSync',
  'fsyncSync',
  'mkdirSync',
  'renameSync',
  'unlinkSync',
  'rmSync',
  'rmdirSync',
] as const;
type Call = (typeof CALLS)[number];
type AnyFunction = (...args: never[]) => unknown;

const calls = fs as unknown as Record<Call, AnyFunction>;
const real = { ...calls };

/** What code after the death of its process would be. */
export class Crash extends Error {}

/** Told of each call before it happens; returns to let it happen. */
type Watcher = (call: Call, args: readonly unknown[]) => void;

function watched<T>(watcher: Watcher, body: () => T): T {
  for (const name of CALLS)
    calls[name] = (...args: never[]) => {
      // Opening to read changes nothing; an own descriptor for folders is only there to sync.
      if (name !== 'openSync' || args[1] !== 'r') watcher(name, args);
      // Nothing here takes the power away.
      return name === 'fsyncSync' ? undefined : real[name](...args);
    };
  try {
    return body();
  } finally {
    for (const name of CALLS) calls[name] = real[name];
  }
}

/** How many calls the body makes. */
export function countCalls(body: () => void): number {
  let count = 0;
  watched(() => count++, body);
  return count;
}

/** The number of a process that was there once. */
const deadPid = spawnSync(process.execPath, ['-e', '']).pid;

/** Runs the body in the name of a process that dies at its n-th call, in the middle of it where it writes. True: it died. */
export function crashAt(n: number, body: () => void): boolean {
  let count = 0;
  const own = Object.getOwnPropertyDescriptor(process, 'pid')!;
  Object.defineProperty(process, 'pid', { ...own, value: deadPid });
  try {
    watched((call, args) => {
      if (++count < n) return;
      if (count === n && call === 'writeSync') {
        const [file, bytes, at, length] = args as [number, Uint8Array, number, number];
        real.writeSync(...([file, bytes, at, length >> 1] as never[]));
      }
      throw new Crash();
    }, body);
    return false;
  } catch (error) {
    if (error instanceof Crash) return true;
    throw error;
  } finally {
    Object.defineProperty(process, 'pid', own);
  }
}

/** Runs the body with a system error at its n-th call, and, if it stays, at each one after that. */
export function failAt(n: number, code: string, stays: boolean, body: () => void): void {
  let count = 0;
  watched(() => {
    count++;
    if (count === n || (stays && count > n)) throw Object.assign(new Error(`${code}: injected`), { code });
  }, body);
}
