/** Results on the terminal, a line each. */
import { fastest, opponentsOf } from './opponents';
import type { Peak } from './peak';
import { groupOf, type Result, rates } from './results';
import { isOursOnCpu, OURS, precisionOf } from './side';

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
 * How many times faster ours is: than our dense layer, than ours in float32, than each opponent's same structure, and
 * than its dense layer, in the same precision.
 */
export function ratios(result: Result, all: readonly Result[]): { name: string; ratio: number }[] {
  if (!isOursOnCpu(result) || result.unit !== 'ms') return [];
  const group = all.filter((other) => groupOf(other) === groupOf(result));
  const precision = precisionOf(result);
  const variants = [...new Set([result.variant, 'dense'])];
  const own = group.filter(
    ({ side, variant }) =>
      (side === result.side && variant === 'dense') || (side === OURS && variant === result.variant),
  );
  const theirs = opponentsOf(group, precision).flatMap((opponent) =>
    variants.map((variant) => fastest(group, opponent, precision, variant)),
  );
  return [...own, ...theirs]
    .filter((other): other is Result => other !== undefined && other !== result)
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
