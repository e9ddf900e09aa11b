/** What the pages and the plots both need of one or more runs. */
import { betterPeak, type Peak } from '../harness/peak';
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
    peaks.set(key, betterPeak(peak, peaks.get(key) ?? peak));
  }
  return { results: [...results.values()], peaks: [...peaks.values()] };
}

/** The sides of one variant, within its group. */
export const rowOf = (result: Result): string => `${groupOf(result)} | ${result.variant}`;
