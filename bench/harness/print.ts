/** Results on the terminal, a line each. */
import { OURS } from './contender';
import type { Peak } from './peak';
import { groupOf, type Result, rates } from './results';

const percent = (share: number | undefined): string => (share === undefined ? '' : ` ${(100 * share).toFixed(0)} %`);

export function formatTime(milliseconds: number): string {
  if (milliseconds < 0.001) return `${(milliseconds * 1e6).toFixed(0)} ns`;
  if (milliseconds < 1) return `${(milliseconds * 1e3).toFixed(milliseconds < 0.01 ? 2 : 1)} µs`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(2)} ms`;
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

export function formatValue({ unit, median }: Pick<Result, 'unit' | 'median'>): string {
  if (unit === 'ms') return formatTime(median);
  if (unit === 'bytes') return `${(median / 2 ** 20).toFixed(0)} MiB`;
  return unit === 'share' ? `${(100 * median).toFixed(1)} %` : median.toFixed(1);
}

/**
 * How many times faster ours is: than our dense layer, than each rival's same structure, and than each rival's dense
 * layer.
 */
export function ratios(result: Result, all: readonly Result[]): { name: string; ratio: number }[] {
  if (result.side !== OURS || result.unit !== 'ms') return [];
  const key = groupOf(result);
  const others = all.filter((other) => other !== result && groupOf(other) === key);
  const dense = result.variant === 'dense';
  return others
    .filter(({ side, variant }) => (side !== OURS && variant === result.variant) || (!dense && variant === 'dense'))
    .map(({ side, variant, median }) => ({ name: `${side} ${variant}`, ratio: median / result.median }));
}

export function formatResult(result: Result, all: readonly Result[], peaks: readonly Peak[]): string {
  const { op, phase, shape, tokens, threads, isa, variant, side, unit, median, p25, p75 } = result;
  const name = `${op} ${phase} ${shape} ${tokens} tokens ${threads} threads ${isa}: ${variant}, ${side}`;
  const parts = [formatValue(result)];
  if (unit === 'ms' && p75 > p25) parts.push(`±${((50 * (p75 - p25)) / median).toFixed(0)} %`);
  if (unit === 'ms' && result.flops > 1000) {
    const { gflops, gbps, flopsShare, bytesShare } = rates(result, peaks);
    parts.push(`${gflops.toFixed(1)} GFLOP/s${percent(flopsShare)}`);
    if (result.bytes > 0) parts.push(`${gbps.toFixed(1)} GB/s${percent(bytesShare)}`);
  }
  const compared = ratios(result, all).map(({ name: other, ratio }) => `${ratio.toFixed(2)}× ${other}`);
  return [name, ...parts, ...compared].join('  ');
}
