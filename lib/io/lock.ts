/**
 * Locks between processes, without native code. A process that wants one puts its own file, a claim, into a folder and
 * then looks for other claims. If two come together, at least one sees the other and steps back. The name of a claim
 * tells its process. So a dead process's claim does not count, and removing it can never remove that of a live one.
 */
import { closeSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { FileError } from '../errors';
import { attempt, makeFolder, systemCode, uniquePart, withFile } from './files';

interface Owner {
  readonly pid: number;
  /**
   * When the process started, so that a later process with its number is not taken for it; empty if the system does not
   * tell.
   */
  readonly started: string;
  readonly thread: number;
  readonly host: string;
}

/** Claims of this thread. A claim of this thread that is missing here could not be removed. */
const held = new Set<string>();

function startOf(pid: number): string {
  try {
    // Field 22 of the line; the second, the program's name in brackets, may hold spaces.
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

function newClaim(): string {
  const { pid } = process;
  return [uniquePart(), startOf(pid), threadId, encodeURIComponent(hostname())].join('_');
}

function ownerOf(claim: string): Owner | null {
  const [, pid, started, thread, host] = /^(\d+)-[0-9a-f]+_(\d*)_(\d+)_(.+)$/.exec(claim) ?? [];
  if (pid === undefined) return null;
  return { pid: Number(pid), started: started!, thread: Number(thread), host: decodeURIComponent(host!) };
}

/** Nothing is known about a process on another host: it counts as alive. */
function isHeld(claim: string, { pid, started, thread, host }: Owner): boolean {
  if (host !== hostname()) return true;
  if (pid === process.pid && thread === threadId) return held.has(claim);
  return isAlive(pid) && startOf(pid) === started;
}

/** The other holders of the lock. */
function rivalOf(claim: string, place: string): Owner | null {
  for (const name of readdirSync(place)) {
    const owner = name === claim ? null : ownerOf(name);
    if (owner === null) continue;
    if (isHeld(name, owner)) return owner;
    attempt(() => rmSync(join(place, name), { force: true }));
  }
  return null;
}

/** Null when the lock was taken. */
function tryClaim(claim: string, place: string): Owner | null {
  const path = join(place, claim);
  held.add(claim);
  try {
    for (;;) {
      makeFolder(place);
      try {
        closeSync(openSync(path, 'wx'));
        break;
      } catch (error) {
        // The process that just released the lock removed the empty folder too.
        if (systemCode(error) !== 'ENOENT') throw error;
      }
    }
    const rival = rivalOf(claim, place);
    if (rival !== null) release(claim, place);
    return rival;
  } catch (error) {
    release(claim, place);
    throw error;
  }
}

function release(claim: string, place: string): void {
  held.delete(claim);
  attempt(() => rmSync(join(place, claim), { force: true }));
  // Only if it is empty.
  attempt(() => rmdirSync(place));
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/**
 * Takes a lock of `path`, which need not exist; disposing releases it. A process that dies loses its locks.
 * @param wait milliseconds to wait for another holder.
 * @param place the folder of the claims; locks of different places are independent. Default: `PATH.lock`.
 * @throws {FileError} naming the process that holds it.
 */
export function lock(path: string, wait: number, place = `${path}.lock`): Disposable {
  const claim = newClaim();
  const end = performance.now() + wait;
  for (;;) {
    const rival = withFile('lock', path, () => tryClaim(claim, place));
    if (rival === null) return { [Symbol.dispose]: () => release(claim, place) };
    if (performance.now() >= end) {
      const where = rival.host === hostname() ? '' : ` on ${rival.host} (if it is gone, remove ${place})`;
      throw new FileError(`cannot write ${path}: process ${rival.pid}${where} is using it`);
    }
    // Not the same for all waiters, so that they do not step back from each other for ever.
    sleep(1 + 15 * Math.random());
  }
}
