/** One group: the same work by every variant and every side, checked to agree, then timed in turns. */
import { getIsa, getNumThreads } from '../../lib/device';
import { type Contender, mostError, ON_CPU } from './contender';
import type { Context } from './context';
import { ourContender } from './ours';
import { createProblem, type Problem, type ProblemSize } from './problem';
import type { Result } from './results';
import { interleave } from './sampling';
import { relativeError, summarize } from './statistics';
import type { Variant } from './variants';

interface Entry {
  readonly problem: Problem;
  readonly contender: Contender;
  readonly error: number | null;
}

/** @throws {Error} if another side computes something different. */
async function check(ours: readonly Float32Array[], contender: Contender, most = mostError(ON_CPU)): Promise<number> {
  const theirs = await contender.outputs();
  const error = Math.max(...theirs.map((output, i) => relativeError(output, ours[i] ?? new Float32Array())));
  if (!(theirs.length > 0 && error < most))
    throw new Error(`${contender.side}, ${contender.variant}: differs from our results by ${error}`);
  return error;
}

/** Ours first, then side by side, so that thread pools change as rarely as possible. */
async function createEntries(context: Context, variants: readonly Variant[], size: ProblemSize): Promise<Entry[]> {
  const entries: Entry[] = [];
  const rivals: Entry[][] = context.rivals.map(() => []);
  for (const variant of variants) {
    const problem = createProblem(variant, size);
    const contender = ourContender(problem);
    entries.push({ problem, contender, error: null });
    const expected = await contender.outputs();
    for (const placement of context.placements) {
      const elsewhere = ourContender(problem, placement);
      const error = await check(expected, elsewhere, mostError(placement));
      entries.push({ problem, contender: elsewhere, error });
    }
    for (const [i, rival] of context.rivals.entries()) {
      const theirs = await rival.create(problem);
      if (theirs) rivals[i]!.push({ problem, contender: theirs, error: await check(expected, theirs) });
    }
  }
  return [...entries, ...rivals.flat()];
}

export async function runGroup(
  context: Context,
  suite: string,
  variants: readonly Variant[],
  size: ProblemSize,
): Promise<Result[]> {
  const entries = await createEntries(context, variants, size);
  const samples = await interleave(
    entries.map(({ contender }) => contender),
    context.sampling,
  );
  const results = entries.map(
    ({ problem, contender, error }): Result => ({
      suite,
      op: size.op,
      phase: size.phase,
      shape: `${size.inFeatures}x${size.outFeatures}`,
      tokens: size.tokens,
      threads: getNumThreads(),
      isa: getIsa(),
      variant: contender.variant,
      side: contender.side,
      unit: 'ms',
      ...summarize(samples.get(contender) ?? []),
      flops: problem.flops,
      bytes: problem.bytes,
      error,
    }),
  );
  for (const { contender } of entries) await contender.close();
  return results;
}

/** Results of ours on the CPU for a group without rivals. */
export const alone = (context: Context): Context => ({ ...context, rivals: [], placements: [] });
