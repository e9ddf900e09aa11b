/** One group: the same work by every variant and every side, checked to agree, then timed in turns. */
import { getIsa, getNumThreads } from '../../lib/device';
import type { Contender } from './contender';
import { type Context, ourPlacements, precisions } from './context';
import { ourContender } from './ours';
import { createProblem, type Problem, type ProblemSize, phaseName } from './problem';
import type { Result } from './results';
import { interleave } from './sampling';
import { mostError, ON_CPU, precisionOf } from './side';
import { relativeError, summarize } from './statistics';
import type { Variant } from './variants';

interface Entry {
  readonly problem: Problem;
  readonly contender: Contender;
  readonly error: number | null;
}

/** @throws {Error} if a side computes something different. */
async function check(expected: readonly Float32Array[], contender: Contender): Promise<number> {
  const outputs = await contender.outputs();
  const error = Math.max(...outputs.map((output, i) => relativeError(output, expected[i] ?? new Float32Array())));
  if (!(outputs.length > 0 && error < mostError(contender)))
    throw new Error(`${contender.side}, ${contender.variant}: differs from our results by ${error}`);
  return error;
}

/** Our results in float32 on the CPU, which all others are compared with. */
async function expectedOutputs(problem: Problem): Promise<readonly Float32Array[]> {
  const reference = ourContender({ ...problem, caches: 'hot' });
  const outputs = await reference.outputs();
  await reference.close();
  return outputs;
}

async function createEntries(context: Context, variants: readonly Variant[], size: ProblemSize): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const variant of variants) {
    const problem = createProblem(variant, size);
    const expected = await expectedOutputs(problem);
    for (const placement of ourPlacements(context)) {
      const contender = ourContender(problem, placement);
      entries.push({ problem, contender, error: placement === ON_CPU ? null : await check(expected, contender) });
    }
    for (const rival of context.rivals)
      for (const contender of await rival.create(problem, precisions(context)))
        entries.push({ problem, contender, error: await check(expected, contender) });
  }
  return entries;
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
      phase: phaseName(size),
      shape: `${size.inFeatures}x${size.outFeatures}`,
      tokens: size.tokens,
      threads: getNumThreads(),
      isa: getIsa(),
      variant: contender.variant,
      side: contender.side,
      unit: 'ms',
      ...summarize(samples.get(contender) ?? []),
      flops: problem.flops,
      bytes: problem.bytes / (precisionOf(contender) === 'bfloat16' ? 2 : 1),
      error,
    }),
  );
  for (const { contender } of entries) await contender.close();
  return results;
}

/** For a group of ours in float32 on the CPU. */
export const alone = (context: Context): Context => ({
  ...context,
  filters: { ...context.filters, precisions: ['float32'] },
  rivals: [],
  placements: [],
});
