/** What the pages and the plots both need of one or more runs. */
import type { Peak } from '../harness/peak';
import { groupOf, keyOf, type Result, type ResultFile } from '../harness/results';

export interface Figures {
  readonly results: readonly Result[];
  readonly peaks: readonly Peak[];
}

/** All figures; if several have the same key, the last. */
export function mergeRuns(runs: readonly ResultFile[]): Figures {
  const results = new Map(runs.flatMap((run) => run.results).map((result) => [keyOf(result), result]));
  const peaks = new Map<string, Peak>();
  for (const peak of runs.flatMap((run) => run.peaks)) {
    const key = `${peak.isa} ${peak.threads}`;
    const other = peaks.get(key) ?? peak;
    const gflops = Math.max(peak.gflops, other.gflops);
    peaks.set(key, { ...peak, gflops, gbps: Math.max(peak.gbps, other.gbps) });
  }
  return { results: [...results.values()], peaks: [...peaks.values()] };
}

export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/** The sides of one variant, within its group. */
export const rowOf = (result: Result): string => `${groupOf(result)} | ${result.variant}`;
