/** Other people's implementations. Each is optional: if one is not installed, the benchmarks go on without it. */
import type { Contender } from '../harness/contender';
import type { Problem } from '../harness/problem';
import type { Precision } from '../harness/side';

export interface Rival {
  readonly name: string;
  setThreads(count: number): Promise<void>;
  /**
   * One for each way in which people compute with it in one of these precisions; none if it does not offer that, such
   * as gradients, or weights that are cold.
   */
  create(problem: Problem, precisions: readonly Precision[]): Promise<readonly Contender[]>;
  close(): Promise<void>;
}

/** What a rival offers that computes forward, in float32, on one copy of the weights. */
export const isPlain = ({ phase, caches }: Problem, precisions: readonly Precision[]): boolean =>
  phase === 'forward' && caches === 'hot' && precisions.includes('float32');

/** Why a rival does not take part. */
export class RivalMissing extends Error {}
