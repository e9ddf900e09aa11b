/** The benchmark suite works: a minimal run, a comparison that finds an injected regression, a report. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Result, type ResultFile, readResults, writeResults } from '../../bench/harness/results';
import { quantile, relativeError, summarize } from '../../bench/harness/statistics';
import { DENSE, layerSize, variants } from '../../bench/harness/variants';

const ROOT = join(__dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(script: string, ...args: string[]) {
  const command = ['-r', './scripts/register_ts.cjs', `bench/${script}.ts`, ...args];
  return spawnSync(process.execPath, command, { cwd: ROOT, encoding: 'utf8' });
}

const first = join(folder, 'first.json');
const write = (name: string, file: ResultFile): string => {
  writeResults(join(folder, name), file);
  return join(folder, name);
};
const slower = (factor: number) => (result: Result) => ({
  ...result,
  median: result.median * factor,
  p25: result.p25 * factor,
  p75: result.p75 * factor,
});

let measured: ReturnType<typeof run>;
beforeAll(() => {
  const quick = ['--shape', '24x96', '--tokens', '1,16', '--time', '1', '--rounds', '1', '--no-rivals'];
  measured = run('main', ...quick, '--structure', 'lowrank', '--out', first);
}, 120_000);

describe('a minimal run', () => {
  test('ends well', () => {
    expect([measured.stderr, measured.status]).toEqual(['', 0]);
  });

  test('measures every suite, with figures that can be true', () => {
    const { results, peaks, machine } = readResults(first);
    const suites = new Set(results.map(({ suite }) => suite));
    expect([...suites].sort()).toEqual([
      'decode',
      'ffn',
      'kernels',
      'load',
      'memory',
      'overhead',
      'tfjs',
      'threads',
      'tokens',
      'training',
    ]);
    expect(peaks).toHaveLength(1);
    for (const { gflops, gbps } of peaks) expect(Math.min(gflops, gbps)).toBeGreaterThan(0.1);
    expect(machine.cores).toBeGreaterThan(0);
    for (const result of results.filter(({ unit }) => unit === 'ms')) {
      expect(result.median).toBeGreaterThanOrEqual(0);
      expect(result.p25).toBeLessThanOrEqual(result.p75);
    }
  });

  test('takes only the structures that were asked for, and dense', () => {
    const { results } = readResults(first);
    const names = results.filter(({ suite }) => !['decode', 'load'].includes(suite)).map(({ variant }) => variant);
    expect([...new Set(names)].sort()).toEqual(['dense', 'lowrank 32 %']);
  });
});

describe('compare', () => {
  test('finds nothing between a run and itself', () => {
    const { status, stdout } = run('compare', first, first);
    expect([status, stdout]).toEqual([0, expect.stringContaining(' 0 worse, 0 better')]);
  });

  test('finds an injected regression and names it', () => {
    const file = readResults(first);
    const victim = file.results.findIndex(({ suite, p75, p25 }) => suite === 'kernels' && p25 > p75 / 3);
    const results = file.results.map((result, i) => (i === victim ? slower(4)(result) : result));
    const { status, stdout } = run('compare', first, write('slow.json', { ...file, results }));
    expect([status, stdout]).toEqual([1, expect.stringMatching(/^worse 4\.00× .*kernels[\s\S]* 1 worse, 0 better/)]);
  });

  test('a rise within the spread is noise', () => {
    const file = readResults(first);
    const noisy = file.results.map((r) => ({ ...r, p25: r.median / 2, p75: r.median * 2 }));
    const before = write('noisy.json', { ...file, results: noisy });
    const after = write('noisy_slow.json', { ...file, results: noisy.map(slower(1.3)) });
    expect(run('compare', before, after).status).toBe(0);
  });

  test('a slower machine is told from slower kernels by the rivals, and the tolerance can be chosen', () => {
    const file = readResults(first);
    const sharp = file.results.map((r) => ({ ...r, p25: r.median, p75: r.median }));
    const rivals = sharp.filter(({ unit }) => unit === 'ms').map((r) => ({ ...r, side: 'rival' }));
    const before = write('sharp.json', { ...file, results: [...sharp, ...rivals] });
    const timed = (r: Result) => r.unit === 'ms';
    const all = [...sharp, ...rivals].map((r) => (timed(r) ? slower(1.5)(r) : r));
    expect(run('compare', before, write('all_slow.json', { ...file, results: all })).status).toBe(0);
    const ours = [...sharp.map((r) => (timed(r) ? slower(1.5)(r) : r)), ...rivals];
    const after = write('ours_slow.json', { ...file, results: ours });
    expect(run('compare', before, after).status).toBe(1);
    expect(run('compare', before, after, '--tolerance', '0.6').status).toBe(0);
  });

  test('says that a file is not one of results', () => {
    const { status, stderr } = run('compare', first, join(ROOT, 'package.json'));
    expect([status, stderr]).toEqual([2, expect.stringContaining('package.json holds no benchmark results')]);
  });
});

test('the report has a page for each kind of suite, and pictures', () => {
  const out = join(folder, 'report');
  const { status, stderr } = run('report', first, '--out', out);
  expect([stderr, status]).toEqual(['', 0]);
  const files = readdirSync(out);
  for (const name of ['README.md', 'kernels.md', 'ffn.md', 'training.md', 'scaling.md', 'overhead.md', 'roofline.svg'])
    expect(files).toContain(name);
  expect(readFileSync(join(out, 'kernels.md'), 'utf8')).toContain('| 24x96 | 16 | lowrank 32 % |');
  expect(readFileSync(join(out, 'roofline.svg'), 'utf8')).toMatch(/^<svg/);
});

test('the legend of a plot tells ours, solid, from a rival, dashed', () => {
  const file = readResults(first);
  const rival = file.results.map((result) => ({ ...result, side: 'a rival' }));
  const both = write('both.json', { ...file, results: [...file.results, ...rival] });
  const out = join(folder, 'plots');
  expect(run('report', both, '--out', out).status).toBe(0);
  const plot = readFileSync(join(out, 'speedup_tokens.svg'), 'utf8');
  const legend = plot.slice(plot.indexOf('legend for strokeDash'));
  expect(legend).toContain('2 values: structured-ffn, a rival');
  const dashes = [
    ...legend.matchAll(/role-legend-symbol"[^>]*><path[^>]* stroke="[^"]+"[^>]* stroke-dasharray="([^"]+)"/g),
  ];
  expect(dashes.map(([, dash]) => dash)).toEqual(['1,0', '4,2']);
});

test('bad options are refused with a message', () => {
  const { status, stderr } = run('main', '--suite', 'nonsense');
  expect([status, stderr]).toEqual([1, expect.stringContaining('Choose from')]);
});

describe('arithmetic', () => {
  test('quantiles interpolate', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(summarize([5, 1, 3])).toEqual({ median: 3, p25: 2, p75: 4, count: 3 });
  });

  test('relative errors are of the largest value, and infinite between lengths', () => {
    expect(relativeError(Float32Array.of(1, 3), Float32Array.of(1, 4))).toBe(0.25);
    expect(relativeError(Float32Array.of(1), Float32Array.of(1, 4))).toBe(Number.POSITIVE_INFINITY);
  });

  test('variants have the parameters that their names promise', () => {
    for (const variant of variants(true)) {
      const [up, down] = [layerSize(variant, 768, 3072), layerSize(variant, 3072, 768)];
      const ratio = (up.dims.macs + down.dims.macs) / (2 * layerSize(DENSE, 768, 3072).dims.macs);
      const promised = Number(variant.name.match(/(\d+) %/)?.[1] ?? Number.NaN) / 100;
      // Where block counts force the steps, half of one.
      if (promised) expect(Math.abs(ratio - promised)).toBeLessThan(0.025);
    }
  });
});
