/** Two runs side by side: what became slower, or larger, beyond the noise of both. */
import { OURS } from './contender';
import { keyOf, type Result, type ResultFile } from './results';

export interface Change {
  readonly key: string;
  readonly before: Result;
  readonly after: Result;
  /** after / before: above 1 is worse. */
  readonly ratio: number;
  readonly verdict: 'worse' | 'better' | 'same';
}

/** Differences below this are not looked at, whatever the spread says. */
const LEAST_CHANGE = 0.1;

/**
 * Beyond noise: the medians are further apart than `LEAST_CHANGE`, and the middle halves of the samples do not meet. Counted
 * figures have no spread, so that any change of that size counts.
 */
function verdict(before: Result, after: Result): Change['verdict'] {
  if (after.median > before.median * (1 + LEAST_CHANGE) && after.p25 > before.p75) return 'worse';
  if (after.median < before.median / (1 + LEAST_CHANGE) && after.p75 < before.p25) return 'better';
  return 'same';
}

/** Our figures that both runs have, worst first. */
export function compareResults(before: ResultFile, after: ResultFile): Change[] {
  const old = new Map(before.results.map((result) => [keyOf(result), result]));
  const changes: Change[] = [];
  for (const result of after.results) {
    const key = keyOf(result);
    const previous = old.get(key);
    if (result.side !== OURS || previous === undefined) continue;
    const ratio = previous.median === result.median ? 1 : result.median / previous.median;
    changes.push({ key, before: previous, after: result, ratio, verdict: verdict(previous, result) });
  }
  return changes.sort((a, b) => b.ratio - a.ratio);
}
