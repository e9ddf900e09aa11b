/**
 * Random programs over the public API, in a process of their own: no crash, no hang, no error that is not ours, results as
 * defined in float64, and all memory back at the end. STRUCTURED_FFN_LONG=1 makes a million calls; STRUCTURED_FFN_SEED
 * begins elsewhere, and STRUCTURED_FFN_FUZZ_RUNS says how many programs.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { CALLS, ENTRIES, LEFT_OUT } from './calls';
import { type Program, programs } from './draw';
import type { Counts } from './machine';

const ROOT = join(__dirname, '..', '..');
const LONG = process.env.STRUCTURED_FFN_LONG === '1';

/** A program makes 12 calls on average. */
const RUNS = Number(process.env.STRUCTURED_FFN_FUZZ_RUNS ?? (LONG ? 85_000 : 400));
const SEED = Number(process.env.STRUCTURED_FFN_SEED ?? 1);
/** Programs of one process, and how long it may take where the machine is busy and the addon sanitized. */
const BATCH = 2500;
const TIMEOUT = 600_000;

const folder = mkdtempSync(join(tmpdir(), 'sffn-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));

function child(task: object, timeout = TIMEOUT) {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', '-r', './scripts/register_ts.cjs', 'test/fuzz/child.ts', JSON.stringify(task)],
    { cwd: ROOT, encoding: 'utf8', timeout, maxBuffer: 1 << 28 },
  );
  return { status, end: signal ?? `exit code ${status}`, stdout, stderr };
}

/** Programs from `seed` on; a crash is tried again with ever smaller programs. */
function run(seed: number, runs: number): Counts {
  const progress = join(folder, 'progress');
  const { status, end, stdout, stderr } = child({ seed, runs, progress });
  if (status === 0 && stdout.startsWith('{')) return JSON.parse(stdout);
  if (status === 1) throw new Error(`${stdout}\n${stderr}`);
  const path = String(Number(readFileSync(progress, 'utf8')));
  const found = fc.check(
    fc.property(programs(CALLS.length), (program: Program) => child({ program }, 30_000).status === 0),
    { seed, path, numRuns: 1, interruptAfterTimeLimit: 120_000 },
  );
  const [smallest] = found.counterexample ?? [null];
  throw new Error(
    `seed ${seed}, path ${path}: the process ended with ${end}\n${stderr.slice(-4000)}\n` +
      (smallest ? JSON.stringify(smallest) : 'the program alone does not do it again'),
  );
}

test('every export is called, or is left out for a reason', () => {
  const known = new Set([...CALLS.map(([name]) => name), ...Object.keys(LEFT_OUT)]);
  const exported = Object.entries(ENTRIES).flatMap(([entry, exports]) =>
    Object.entries(exports).flatMap(([name, value]) => (typeof value === 'function' ? [`${entry}${name}`] : [])),
  );
  expect(exported.filter((name) => !known.has(name))).toEqual([]);
  expect(Object.keys(LEFT_OUT).filter((name) => !exported.includes(name))).toEqual([]);
});

test(
  'random programs break no property',
  () => {
    const all: Counts = { calls: 0, refused: 0, compared: 0, gradients: 0 };
    for (let done = 0; done < RUNS; done += BATCH) {
      const counts = run(SEED + done, Math.min(BATCH, RUNS - done));
      for (const name of Object.keys(all) as (keyof Counts)[]) all[name] += counts[name];
    }
    if (LONG) console.log(all);
    // Most calls do something: a generator whose calls are all refused would find nothing.
    expect(all.calls).toBeGreaterThan(10 * RUNS);
    expect(all.refused).toBeLessThan(all.calls / 2);
    expect(all.compared).toBeGreaterThan(all.calls / 8);
    expect(all.gradients).toBeGreaterThan(all.calls / 40);
  },
  Math.max(TIMEOUT, (RUNS / BATCH) * TIMEOUT),
);
