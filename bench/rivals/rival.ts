/** Other people's implementations. Each is optional: if one is not installed, the benchmarks go on without it. */
import type { Contender } from '../harness/contender';
import type { Problem } from '../harness/problem';

export interface Rival {
  readonly name: string;
  setThreads(count: number): Promise<void>;
  /** Null if the rival does not offer it, such as gradients. */
  create(problem: Problem): Promise<Contender | null>;
  close(): Promise<void>;
}

/** Why a rival does not take part. */
export class RivalMissing extends Error {}
