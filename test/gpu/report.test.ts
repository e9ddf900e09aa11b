/** The page of the stages' results: rendered from sample rows of this kit on a CPU, and its figures from rows made up here. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  commandOutcomes,
  compareDecoding,
  compareKernels,
  countChecks,
  countTests,
  isOfGpu,
  missingStages,
  ofKind,
  summarize,
} from '../../gpu/report/figures';
import { renderPage } from '../../gpu/report/page';
import {
  type DecodingRow,
  type FiledRow,
  type KernelRow,
  type Origin,
  OURS,
  type Row,
  readRows,
  writeRow,
} from '../../gpu/support/rows';

const ROOT = join(__dirname, '..', '..');
/** What `gpu/main.ts --device=cpu --size=tiny` wrote: no figure in it is of a GPU. */
const SAMPLE = join(ROOT, 'test', 'fixtures', 'gpu', 'sample_of_the_cpu');
const RESULTS = join(SAMPLE, 'results.jsonl');
const sample = readRows([RESULTS]);

const folder = mkdtempSync(join(tmpdir(), 'gpu-report-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The cells of the line of a table that begins with `first`. */
function cells(page: string, first: string): string[] {
  const line = page.split('\n').find((text) => text.startsWith(`| ${first} |`));
  if (line === undefined) throw new Error(`no line begins with ${first}`);
  return line
    .split('|')
    .slice(1, -1)
    .map((text) => text.trim());
}

const filed = (origin: Origin, row: Row): FiledRow => ({ ...origin, ...row });
const D: Origin = { stage: 'd', command: 'kernels' };

const kernel = (side: string, problem: string, microseconds: number, switches?: string): KernelRow & Origin => ({
  ...D,
  kind: 'kernel',
  side,
  problem,
  microseconds,
  tflops: 1,
  switches,
});

describe('figures', () => {
  test('ratios are of the same problem, and leave out kernels chosen by hand', () => {
    const rows = [
      kernel(OURS, 'p', 100),
      kernel(OURS, 'q', 100),
      kernel(OURS, 'alone', 100),
      kernel(OURS, 'p', 10, 'TILE=64'),
      kernel('eager', 'p', 200),
      kernel('eager', 'q', 50),
      kernel('graph', 'p', 150),
      kernel('graph', 'theirs', 1),
    ];
    const compared = compareKernels(rows);
    expect(compared.map(({ ours }) => ours.problem)).toEqual(['p', 'q', 'alone']);
    const ratios = compared.map(({ rivals }) => [rivals.get('eager')?.ratio, rivals.get('graph')?.ratio]);
    expect(ratios).toEqual([
      [2, 1.5],
      [0.5, undefined],
      [undefined, undefined],
    ]);
    expect(summarize(compared, 'eager')).toEqual({ problems: 2, faster: 1, mean: 1 });
    expect(summarize(compared, 'graph')).toEqual({ problems: 1, faster: 1, mean: 1.5 });
  });

  test('decoding with weights of any type is compared with the rival of the same batch', () => {
    const row = (side: string, dtype: string, batch: number, milliseconds: number): DecodingRow => ({
      kind: 'decoding',
      side,
      job: 'xl dense',
      dtype,
      batch,
      context: 512,
      milliseconds,
      tokensPerSecond: 1,
      weightGigabytes: 1,
    });
    const rows = [
      row(OURS, 'bfloat16', 1, 2),
      row(OURS, 'int8', 1, 1),
      row(OURS, 'int8', 8, 1),
      row('graph', 'bfloat16', 1, 3),
    ];
    expect(compareDecoding(rows).map(({ rivals }) => rivals.get('graph')?.ratio)).toEqual([1.5, 3, undefined]);
  });

  test('of the sample they are what its lines say', () => {
    const lines = readFileSync(RESULTS, 'utf8').trim().split('\n');
    const count = (text: string) => lines.filter((line) => line.includes(text)).length;
    expect(sample).toHaveLength(lines.length);
    expect(countChecks(ofKind(sample, 'check'))).toEqual({ passed: count('"passed":true'), failed: 0 });
    const passed = lines.flatMap((line) => /"kind":"tests".*"passed":(\d+)/.exec(line)?.[1] ?? []);
    expect(passed.length).toBeGreaterThan(2);
    const total = passed.reduce((sum, text) => sum + Number(text), 0);
    expect(countTests(ofKind(sample, 'tests'))).toEqual({ passed: total, failed: 0 });
    expect(commandOutcomes(sample)).toHaveLength(count('"kind":"begin"'));
    expect(missingStages(sample)).toEqual([]);
    expect(isOfGpu(sample)).toBe(false);
  });
});

describe('the page', () => {
  test('of the sample says that it is of no GPU, and what was not run', () => {
    const page = renderPage(sample);
    expect(page).toMatch(/^# Sample or trial data, not of a GPU\n/);
    expect(page).toContain('No tool was run.');
    expect(page).toContain('it needs PyTorch');
    expect(page).not.toContain('Missing, not run');
    const checks = ofKind(sample, 'check').filter(({ suite }) => suite === 'large sizes').length;
    expect(cells(page, 'large sizes')).toEqual(['large sizes', String(checks), '0']);
    const [first] = ofKind(sample, 'kernel');
    expect(cells(page, first!.problem)[1]).toBe(first!.microseconds.toFixed(1));
  });

  test('has a time and a ratio for each rival', () => {
    const page = renderPage([...sample, kernel(OURS, 'p', 100), kernel('eager', 'p', 250), kernel('graph', 'q', 1)]);
    expect(cells(page, 'p').slice(-2)).toEqual(['250.0', '2.50×']);
    expect(page).toContain('eager: 1 problems in common, ours faster in 1, geometric mean of the ratios 2.50×');
  });

  test('shows failures, what did not end, and missing stages', () => {
    const card = { name: 'some GPU' };
    const begin = (origin: Origin): FiledRow =>
      filed(origin, { kind: 'begin', date: '2026-01-01T00:00:00Z', commit: 'abc', device: 'cuda', size: 'full', card });
    const big: Origin = { stage: 'b', command: 'large sizes' };
    const page = renderPage([
      begin(D),
      begin(big),
      filed(big, { kind: 'check', suite: 'large sizes', name: 'dense', passed: false, detail: 'relative 1' }),
      filed(big, { kind: 'end', outcome: 'failed', seconds: 3, detail: 'exit status 1' }),
      filed(D, { kind: 'failure', side: 'eager', at: 'problem p', message: 'out of memory\nlater' }),
      filed(D, { kind: 'coverage', side: OURS, done: 3, of: 7 }),
      filed(
        { stage: 'c', command: 'memcheck' },
        {
          kind: 'sanitizer',
          tool: 'memcheck',
          errors: 2,
          parts: ['dense'],
          wanted: ['dense', 'norm'],
          first: 'Invalid | read',
        },
      ),
    ]);
    expect(page).toMatch(/^# The CUDA backend on a GPU\n/);
    expect(page).toContain('**2 of 2 commands did not pass: large sizes, kernels.**');
    expect(page).toContain('Missing, not run: a (device and probe), c (');
    expect(cells(page, 'd: kernels').slice(1, 3)).toEqual(['kernels', 'not ended']);
    expect(page).toContain('- large sizes: dense: relative 1');
    expect(page).toContain('- eager failed: problem p: out of memory\n');
    expect(page).toContain(`- ${OURS}, kernels: 3 of 7 were measured`);
    expect(page).toContain('| memcheck | 2 | 1 of 2 | Invalid \\| read |');
  });
});

describe('rows', () => {
  test('a command that ran again replaces its rows alone, and a line that was cut counts for nothing', () => {
    const file = join(folder, 'results.jsonl');
    copyFileSync(RESULTS, file);
    const again = { ...ofKind(sample, 'begin').find(({ command }) => command === 'training')! };
    writeRow(file, again, again);
    appendFileSync(file, '{"stage":"e","comm');
    const rows = readRows([file]);
    const others = sample.filter(({ command }) => command !== 'training');
    expect(rows.filter(({ command }) => command !== 'training')).toEqual(others);
    expect(rows.filter(({ command }) => command === 'training')).toEqual([again]);
    expect(readRows([file, RESULTS])).toHaveLength(sample.length);
  });
});

test('figures that are not of a GPU do not become a page of the documentation', () => {
  const report = (...args: string[]) =>
    spawnSync(process.execPath, ['-r', './scripts/register_ts.cjs', 'gpu/report/main.ts', ...args], {
      cwd: ROOT,
      encoding: 'utf8',
    });
  const refused = report(SAMPLE);
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('not all of a GPU')]);
  const page = join(folder, 'page.md');
  expect(report(SAMPLE, `--out=${page}`).status).toBe(0);
  expect(readFileSync(page, 'utf8')).toBe(renderPage(sample));
  expect(report(folder, '--unknown').stderr).toContain('--unknown');
});
