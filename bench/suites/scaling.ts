/** How time grows with tokens, and shrinks with a second thread. */
import { getIsa, getNumThreads, setIsa, setNumThreads } from '../../lib/device';
import { native } from '../../lib/native';
import type { Contender } from '../harness/contender';
import { type Context, selected, shapes, tokenCounts, wantsOp } from '../harness/context';
import { alone, runGroup } from '../harness/group';
import { ourContender } from '../harness/ours';
import { cachesOf, createProblem, type ProblemSize } from '../harness/problem';
import type { Result } from '../harness/results';
import { interleave } from '../harness/sampling';
import { summarize } from '../harness/statistics';
import { MODEL_VARIANTS } from '../harness/variants';
import type { Suite } from './suite';

const SHAPES = [[768, 3072]] as const;

function useDefaults({ isas, threads }: Context): void {
  setIsa(isas[0] ?? getIsa());
  setNumThreads(Math.max(...threads));
}

export const tokens: Suite = {
  name: 'tokens',
  about: 'the forward time of each structure against the number of tokens',
  async run(context) {
    if (!wantsOp(context, 'linear')) return;
    useDefaults(context);
    const counts = context.full ? [64, 256, 1024, 4096, 8192, 16384, 32768] : [64, 256, 1024, 4096];
    for (const [inFeatures, outFeatures] of shapes(context, SHAPES))
      for (const count of tokenCounts(context, counts)) {
        const size = { op: 'linear', inFeatures, outFeatures, tokens: count, phase: 'forward', caches: 'hot' } as const;
        context.add(await runGroup(alone(context), 'tokens', selected(context, MODEL_VARIANTS), size));
      }
  },
};

/** The same contender on another number of threads. */
const onThreads = (contender: Contender, count: number): Contender => ({
  side: contender.side,
  variant: contender.variant,
  outputs: () => contender.outputs(),
  sample: (milliseconds) => {
    setNumThreads(count);
    return contender.sample(milliseconds);
  },
  close: () => contender.close(),
});

export const threads: Suite = {
  name: 'threads',
  about: 'one thread against all',
  async run(context) {
    if (!wantsOp(context, 'linear')) return;
    useDefaults(context);
    const counts = [1, native.availableCores()];
    for (const [inFeatures, outFeatures] of shapes(context, SHAPES))
      for (const count of tokenCounts(context, [1, 64, 512, 2048])) {
        const [caches = 'hot'] = cachesOf(count);
        const size: ProblemSize = { op: 'linear', inFeatures, outFeatures, tokens: count, phase: 'forward', caches };
        for (const variant of selected(context, MODEL_VARIANTS)) {
          const problem = createProblem(variant, size);
          const contender = ourContender(problem);
          const both = counts.map((n) => onThreads(contender, n));
          const samples = await interleave(both, context.sampling);
          context.add(
            both.map(
              (one, i): Result => ({
                suite: 'threads',
                op: 'linear',
                phase: 'forward',
                shape: `${inFeatures}x${outFeatures}`,
                tokens: count,
                threads: counts[i] ?? getNumThreads(),
                isa: getIsa(),
                variant: variant.name,
                side: contender.side,
                unit: 'ms',
                ...summarize(samples.get(one) ?? []),
                flops: problem.flops,
                bytes: problem.bytes,
                error: null,
              }),
            ),
          );
          await contender.close();
        }
      }
    useDefaults(context);
  },
};
