/** Files are read in another process, which may hang or run out of memory without harm to the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { Trainer } from '../../lib/train';
import { CONFIG, take } from '../train/support';

export type Kind = 'safetensors' | 'model' | 'trainer' | 'tokens';

export interface Outcome {
  readonly milliseconds: number;
  /** By which the process grew. */
  readonly megabytes: number;
  readonly error: { readonly code: string | null; readonly message: string; readonly stack: string } | null;
}

/** What one small file may take, on a busy machine. */
export const BUDGET = { milliseconds: 5000, megabytes: 400 };

export const root = mkdtempSync(join(tmpdir(), 'sffn-files-'));
const good = join(root, 'good');
export const bad = join(root, 'bad');

let child: ChildProcess;
let lines: Interface;

beforeAll(async () => {
  {
    using trainer = new Trainer({ ...CONFIG, guidance: { part: 0.9 } });
    await take(trainer, 2);
    trainer.save(good);
  }
  child = spawn(process.execPath, ['--max-old-space-size=1000', join(__dirname, 'reader.cjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin!.on('error', () => {});
  lines = createInterface({ input: child.stdout! });
});

afterAll(() => {
  child.kill();
  rmSync(root, { recursive: true });
});

/** A copy of a good checkpoint, by default without the manifest that would give a change away. */
export function fresh(manifest = false): string {
  rmSync(bad, { recursive: true, force: true });
  mkdirSync(bad);
  cpSync(good, bad, { recursive: true });
  if (!manifest) rmSync(join(bad, 'manifest.json'));
  return bad;
}

/** Reads a file or a checkpoint there. Fails where the process has ended, or is silent for too long. */
export async function read(kind: Kind, path: string): Promise<Outcome> {
  const done = new AbortController();
  const timeout = AbortSignal.any([done.signal, AbortSignal.timeout(30_000)]);
  child.stdin!.write(`${JSON.stringify({ kind, path })}\n`);
  try {
    const [line] = await once(lines, 'line', { signal: timeout });
    return JSON.parse(line);
  } catch (cause) {
    throw new Error(`${kind} ${path}: no answer; the reader ended with ${child.exitCode ?? child.signalCode}`, {
      cause,
    });
  } finally {
    done.abort();
  }
}

/** It was read, or refused by an error of ours, within the budget. */
export function expectHarmless({ milliseconds, megabytes, error }: Outcome, what: string): void {
  if (error !== null && !/^ERR_[A-Z_]+$/.test(error.code ?? '')) throw new Error(`${what}: ${error.stack}`);
  if (error !== null && /ERR_(INVALID|OUT_OF_RANGE|BUFFER)/.test(error.code!))
    throw new Error(`${what}: ${error.stack}`);
  if (milliseconds > BUDGET.milliseconds) throw new Error(`${what}: ${milliseconds} ms (${error?.message})`);
  if (megabytes > BUDGET.megabytes) throw new Error(`${what}: ${megabytes} MB (${error?.message})`);
}
