/** Plots as SVG, drawn by Vega-Lite. */

import { groupBy } from '../harness/group_by';
import { groupOf, type Result, type ResultFile, rates } from '../harness/results';
import { OURS, precisionOf } from '../harness/side';
import { type Figures, mergeRuns } from './figures';

type Point = Readonly<Record<string, string | number>>;

const LOG = { type: 'log', base: 2 };

async function draw(title: string, layers: readonly object[]): Promise<string> {
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const config = { view: { stroke: null }, font: 'system-ui, sans-serif' } as const;
  const spec = { title, width: 560, height: 300, layer: layers, config };
  const view = new vega.View(vega.parse(compile(JSON.parse(JSON.stringify(spec))).spec), { renderer: 'none' });
  return view.toSVG();
}

/** Ours is drawn solid and the others dashed; the strokes in the legend are long enough to tell them apart. */
function sideDash(values: readonly Point[]) {
  const others = [...new Set(values.map(({ side }) => side))].filter((side) => side !== OURS).sort();
  const legend = { symbolType: 'stroke', symbolSize: 900 };
  return { field: 'side', type: 'nominal', title: null, scale: { domain: [OURS, ...others] }, legend };
}

const lines = (values: readonly Point[], x: string, y: string, xTitle: string, yTitle: string, logY = false) => {
  const encoding = {
    x: { field: x, type: 'quantitative', title: xTitle, scale: LOG },
    y: { field: y, type: 'quantitative', title: yTitle, ...(logY && { scale: { type: 'log' } }) },
    color: { field: 'structure', type: 'nominal', title: null },
  };
  // Points are in a separate layer: as a part of the lines they would turn the legend's dashes into filled symbols.
  return {
    data: { values },
    encoding,
    layer: [
      { mark: { type: 'line' }, encoding: { strokeDash: sideDash(values) } },
      { mark: { type: 'point', filled: true, opacity: 1 } },
    ],
  };
};

const width = ({ shape }: Result): number => Number(shape.split('x')[0]);
const isUp = ({ shape }: Result): boolean => width({ shape } as Result) < Number(shape.split('x')[1]);

/** Speed-up over the dense layer of the same side: it shows the effect of structure, not of the implementation. */
function speedups(results: readonly Result[]): (Result & { speedup: number })[] {
  return [...groupBy(results, groupOf).values()].flatMap((group) =>
    group
      .filter(({ variant }) => variant !== 'dense')
      .flatMap((result) => {
        const dense = group.find(({ side, variant }) => side === result.side && variant === 'dense');
        return dense ? [{ ...result, speedup: dense.median / result.median }] : [];
      }),
  );
}

/** In float32; of few tokens, those on cold weights. */
function forwardUp({ results }: Figures): readonly Result[] {
  return results.filter(
    (r) =>
      r.suite === 'kernels' &&
      ['forward', 'forward, cold'].includes(r.phase) &&
      isUp(r) &&
      precisionOf(r) === 'float32' &&
      !r.side.startsWith('tfjs'),
  );
}

const byStructure = ({ variant, side }: Result) => ({ structure: variant, side });

async function speedupPlots(figures: Figures): Promise<[string, string][]> {
  const points = speedups(forwardUp(figures));
  const widths = points.filter(({ tokens }) => tokens === 512);
  const smallest = Math.min(...points.map(width));
  const counts = points.filter((point) => width(point) === smallest);
  const plots: [string, string][] = [];
  if (new Set(widths.map(width)).size > 1) {
    const values = widths.map((point) => ({ ...byStructure(point), width: width(point), speedup: point.speedup }));
    const layer = lines(
      values,
      'width',
      'speedup',
      'width d (d → 4d, 512 tokens)',
      'times faster than dense of the same side',
    );
    plots.push(['speedup_width.svg', await draw('Speed-up against width', [layer])]);
  }
  if (new Set(counts.map(({ tokens }) => tokens)).size > 1) {
    const values = counts.map((point) => ({ ...byStructure(point), tokens: point.tokens, speedup: point.speedup }));
    const layer = lines(
      values,
      'tokens',
      'speedup',
      `tokens (d = ${smallest})`,
      'times faster than dense of the same side',
    );
    plots.push(['speedup_tokens.svg', await draw('Speed-up against tokens', [layer])]);
  }
  return plots;
}

async function roofline(figures: Figures): Promise<[string, string][]> {
  const own = forwardUp(figures).filter(({ side }) => side === OURS);
  const [first] = own;
  const peak = figures.peaks.find(({ isa, threads }) => isa === first?.isa && threads === first?.threads);
  if (!peak) return [];
  const values = own.map((result) => ({
    ...byStructure(result),
    intensity: result.flops / result.bytes,
    gflops: rates(result, figures.peaks).gflops,
  }));
  const intensities = values.map(({ intensity }) => intensity);
  const [low, high] = [Math.min(...intensities), Math.max(...intensities)];
  const corner = Math.min(high, Math.max(low, peak.gflops / peak.gbps));
  const roof = [low, corner, high].map((intensity) => ({
    intensity,
    gflops: Math.min(peak.gflops, intensity * peak.gbps),
  }));
  const encoding = {
    x: { field: 'intensity', type: 'quantitative', title: 'FLOP per byte', scale: LOG },
    y: { field: 'gflops', type: 'quantitative', title: 'GFLOP/s', scale: { type: 'log' } },
  };
  const color = { field: 'structure', type: 'nominal', title: null };
  const layers = [
    { data: { values: roof }, mark: { type: 'line', color: 'gray' }, encoding },
    { data: { values }, mark: { type: 'point', filled: true }, encoding: { ...encoding, color } },
  ];
  return [['roofline.svg', await draw('Roofline: forward, all widths and token counts', layers)]];
}

async function tokenPlot({ results }: Figures): Promise<[string, string][]> {
  const own = results.filter(({ suite }) => suite === 'tokens');
  if (own.length === 0) return [];
  const values = own.map((result) => ({ ...byStructure(result), tokens: result.tokens, ms: result.median }));
  const layer = lines(values, 'tokens', 'ms', 'tokens', 'milliseconds', true);
  return [['time_tokens.svg', await draw('Forward time against tokens', [layer])]];
}

/** File name → SVG, for what the runs have figures of. */
export async function drawPlots(runs: readonly ResultFile[]): Promise<Map<string, string>> {
  const figures = mergeRuns(runs);
  return new Map([...(await speedupPlots(figures)), ...(await roofline(figures)), ...(await tokenPlot(figures))]);
}
