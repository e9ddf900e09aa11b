/** Two runs side by side: what became slower, or larger, beyond the noise of both. */

import { groupOf, keyOf, type Result, type ResultFile } from './results';
import { isOurs } from './side';
import { type Summary, summarize } from './statistics';

export interface Change {
  readonly key: string;
  readonly before: Result;
  readonly after: Result;
  /** after / before, corrected: above 1 is worse. */
  readonly ratio: number;
  readonly verdict: 'worse' | 'better' | 'same';
}

/** Smaller differences are ignored, for any spread. */
export const DEFAULT_TOLERANCE = 0.1;

/**
 * Beyond noise: the medians differ by more than the tolerance, and the middle halves of the samples do not overlap.
 * Counted figures have no spread, so any difference of that size counts.
 */
function verdict(before: Result, after: Summary, tolerance: number): Change['verdict'] {
  if (after.median > before.median * (1 + tolerance) && after.p25 > before.p75) return 'worse';
  if (after.median < before.median / (1 + tolerance) && after.p75 < before.p25) return 'better';
  return 'same';
}

/**
 * How much slower each group's rivals ran. The rivals did not change, so the machine did. 1 if no rival took part in
 * both runs.
 */
function drifts(old: ReadonlyMap<string, Result>, results: readonly Result[]): Map<string, number> {
  const ratios = new Map<string, number[]>();
  for (const result of results) {
    const previous = old.get(keyOf(result));
    if (isOurs(result) || result.unit !== 'ms' || previous === undefined) continue;
    const group = groupOf(result);
    ratios.set(group, [...(ratios.get(group) ?? []), result.median / previous.median]);
  }
  return new Map([...ratios].map(([group, values]) => [group, summarize(values).median]));
}

/** Our figures that both runs have, worst first. Times are corrected by the change of the rivals in the same group. */
export function compareResults(before: ResultFile, after: ResultFile, tolerance = DEFAULT_TOLERANCE): Change[] {
  const old = new Map(before.results.map((result) => [keyOf(result), result]));
  const drift = drifts(old, after.results);
  const changes: Change[] = [];
  for (const result of after.results) {
    const key = keyOf(result);
    const previous = old.get(key);
    if (!isOurs(result) || previous === undefined) continue;
    const slower = drift.get(groupOf(result)) ?? 1;
    const { median, p25, p75, count } = result;
    const corrected = { median: median / slower, p25: p25 / slower, p75: p75 / slower, count };
    const ratio = previous.median === corrected.median ? 1 : corrected.median / previous.median;
    changes.push({ key, before: previous, after: result, ratio, verdict: verdict(previous, corrected, tolerance) });
  }
  return changes.sort((a, b) => b.ratio - a.ratio);
}
