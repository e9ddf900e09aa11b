/** Files are read in another process, which may hang or run out of memory without harm to the test. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { Trainer } from '../../lib/train';
import { CONFIG, take } from '../train/support';
import type { Batch, Report } from './batch_child';

export interface Outcome {
  readonly milliseconds: number;
  /** By which the process grew. */
  readonly megabytes: number;
  readonly error: { readonly code: string | null; readonly message: string; readonly stack: string } | null;
}

/** What one small file may take, on a busy machine. */
export const BUDGET = { milliseconds: 5000, megabytes: 400 };

const ROOT = join(__dirname, '..', '..');
const LIMITS = ['--max-old-space-size=1000'];

export const root = mkdtempSync(join(tmpdir(), 'sffn-files-'));
const good = join(root, 'good');

let child: ChildProcess;
let lines: Interface;

beforeAll(async () => {
  {
    using trainer = new Trainer({ ...CONFIG, guidance: { part: 0.9 } });
    await take(trainer, 2);
    trainer.save(good);
  }
  child = spawn(process.execPath, [...LIMITS, join(__dirname, 'reader.cjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin!.on('error', () => {});
  lines = createInterface({ input: child.stdout! });
});

afterAll(() => {
  child.kill();
  rmSync(root, { recursive: true });
});

/** Reads `count` changed files of a kind in another process, which may hang or end. */
export function readBatch(kind: string, seed: number, count: number): Report {
  const progress = join(root, 'progress');
  const batch: Batch = { kind, seed, count, good, folder: join(root, 'batch'), progress, budget: BUDGET };
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...LIMITS,
      '-r',
      join(ROOT, 'scripts', 'register_ts.cjs'),
      join(__dirname, 'batch_child.ts'),
      JSON.stringify(batch),
    ],
    { cwd: ROOT, encoding: 'utf8', timeout: 60_000 + count * 100 },
  );
  if (status === 0) return JSON.parse(stdout);
  const last = existsSync(progress) ? readFileSync(progress, 'utf8').trim() : 'none yet';
  throw new Error(`${kind}, seed ${seed}: the reader ended with ${signal ?? status} at file ${last}\n${stderr}`);
}

/** Reads a safetensors file. Fails where the process has ended, or is silent for too long. */
export async function read(path: string): Promise<Outcome> {
  const done = new AbortController();
  const timeout = AbortSignal.any([done.signal, AbortSignal.timeout(30_000)]);
  child.stdin!.write(`${JSON.stringify({ path })}\n`);
  try {
    const [line] = await once(lines, 'line', { signal: timeout });
    return JSON.parse(line);
  } catch (cause) {
    throw new Error(`${path}: no answer; the reader ended with ${child.exitCode ?? child.signalCode}`, {
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
