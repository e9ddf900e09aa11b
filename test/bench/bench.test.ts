/** The benchmark suite works: a minimal run, a comparison that finds an injected regression, a report. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Result, type ResultFile, rates, readResults, writeResults } from '../../bench/harness/results';
import { isOursOnCpu, makerOf, precisionOf, wayOf } from '../../bench/harness/side';
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

describe('precisions', () => {
  const both = join(folder, 'both_precisions.json');
  beforeAll(() => {
    const quick = ['--shape', '24x96', '--tokens', '1,16', '--time', '1', '--rounds', '1', '--no-rivals'];
    const suites = ['--suite', 'kernels,ffn,training,memory,decode', '--structure', 'none'];
    const { stderr, status } = run('main', ...quick, ...suites, '--precisions', 'bfloat16,float32', '--out', both);
    expect([stderr, status]).toEqual(['', 0]);
  }, 120_000);

  test('every suite has ours in both, checked to agree', () => {
    const { results } = readResults(both);
    for (const suite of ['kernels', 'ffn', 'training', 'memory', 'decode']) {
      const own = results.filter((result) => result.suite === suite);
      expect([suite, ...new Set(own.map(({ side }) => side))].sort()).toEqual(
        [suite, 'structured-ffn', 'structured-ffn bfloat16'].sort(),
      );
    }
    const checked = results.filter(({ side, error }) => side === 'structured-ffn bfloat16' && error !== null);
    expect(new Set(checked.map(({ suite }) => suite))).toEqual(new Set(['kernels', 'ffn', 'training']));
    for (const { error } of checked) expect(error).toBeLessThan(5e-2);
  });

  test('few tokens are measured on cold and on hot weights, many on hot ones', () => {
    const layers = readResults(both).results.filter(
      ({ suite, phase }) => suite === 'kernels' && /^forward\b(?!\+)/.test(phase),
    );
    const phases = (count: number) =>
      new Set(layers.filter(({ tokens }) => tokens === count).map(({ phase }) => phase));
    expect([phases(1), phases(16)]).toEqual([new Set(['forward, cold', 'forward, hot']), new Set(['forward'])]);
  });

  test('a prompt is measured beside the steps', () => {
    const ops = readResults(both)
      .results.filter(({ suite }) => suite === 'decode')
      .map(({ op }) => op);
    expect(new Set(ops)).toEqual(new Set(['decode', 'prompt']));
  });

  test('the peak of bfloat16 was measured', () => {
    for (const { bfloat16 } of readResults(both).peaks) expect(bfloat16).toBeGreaterThan(0.1);
  });

  test('the report compares each with the fastest way of a rival in the same precision', () => {
    const file = readResults(both);
    const dense = file.results.filter(({ suite, variant }) => suite === 'training' && variant === 'dense');
    const rival = (ours: string, side: string, factor: number) =>
      dense.filter((one) => one.side === ours).map((one) => ({ ...slower(factor)(one), side }));
    const rivals = [
      ...rival('structured-ffn', 'pytorch', 3),
      ...rival('structured-ffn', 'pytorch compiled', 2),
      ...rival('structured-ffn bfloat16', 'pytorch autocast bfloat16', 5),
      ...rival('structured-ffn bfloat16', 'pytorch compiled autocast bfloat16', 7),
    ];
    const out = join(folder, 'precisions');
    const path = write('with_rivals.json', { ...file, results: [...file.results, ...rivals] });
    expect(run('report', path, '--out', out).status).toBe(0);
    const summary = readFileSync(join(out, 'README.md'), 'utf8');
    expect(summary).toMatch(/\| training step \| float32 \| dense \| 2\.00 \| 2\.00 \|/);
    expect(summary).toMatch(/\| training step \| bfloat16 \| dense \| 5\.00 \| 5\.00 \|/);
    const page = readFileSync(join(out, 'training.md'), 'utf8');
    expect(page).toMatch(/\| dense \| structured-ffn \|.*\| 2\.00× \(compiled\) \|/);
    expect(page).toMatch(/\| dense \| structured-ffn bfloat16 \|.*\| 5\.00× \(autocast\) \|/);
    expect(readFileSync(join(out, 'kernels.md'), 'utf8')).toMatch(/## linear, forward, hot, bfloat16,/);
  });
});

describe('sides', () => {
  test.each([
    ['pytorch compiled autocast bfloat16', 'pytorch', 'compiled autocast', 'bfloat16', false],
    ['pytorch', 'pytorch', '', 'float32', false],
    ['structured-ffn int8', 'structured-ffn', '', 'int8', true],
    ['structured-ffn cuda float32', 'structured-ffn', 'cuda', 'float32', false],
  ])('%s', (side, maker, way, precision, onCpu) => {
    expect([makerOf({ side }), wayOf({ side }), precisionOf({ side }), isOursOnCpu({ side })]).toEqual([
      maker,
      way,
      precision,
      onCpu,
    ]);
  });

  test('a peak is that of the precision; int8 has none', () => {
    const peaks = [{ isa: 'avx512bf16', threads: 2, gflops: 10, bfloat16: 20, gbps: 5 }] as const;
    const of = (side: string) => {
      const [result] = readResults(first).results;
      const timed = { ...result!, isa: 'avx512bf16', threads: 2, side, flops: 1e6, median: 1 };
      return rates(timed, peaks).flopsShare;
    };
    expect(of('structured-ffn')).toBeCloseTo(0.1);
    expect(of('pytorch autocast bfloat16')).toBeCloseTo(0.05);
    expect(of('structured-ffn int8')).toBeUndefined();
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
    const rivals = sharp
      .filter(({ unit }) => unit === 'ms')
      .map((r) => ({ ...r, side: r.side.replace('structured-ffn', 'rival') }));
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
