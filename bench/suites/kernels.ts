/** One linear layer, forward, and forward with backward. */
import { selected, shapes, tokenCounts, wantsOp, wantsPhase } from '../harness/context';
import { runGroup } from '../harness/group';
import { cachesOf, type Phase } from '../harness/problem';
import { forEachSetting } from '../harness/settings';
import { variants } from '../harness/variants';
import type { Suite } from './suite';

const DEFAULT_SHAPES = [
  [768, 3072],
  [3072, 768],
] as const;
const FULL_SHAPES = [768, 1024, 2048].flatMap((d) => [[d, 4 * d] as const, [4 * d, d] as const]);
const PHASES: readonly Phase[] = ['forward', 'forward+backward'];

export const kernels: Suite = {
  name: 'kernels',
  about: 'a linear layer of each structure, forward and backward, from 1 to 2048 tokens',
  async run(context) {
    if (!wantsOp(context, 'linear')) return;
    await forEachSetting(context, async (setting) => {
      for (const [inFeatures, outFeatures] of shapes(context, context.full ? FULL_SHAPES : DEFAULT_SHAPES))
        for (const tokens of tokenCounts(context, [1, 8, 64, 512, 2048]))
          for (const phase of PHASES.filter((one) => wantsPhase(context, one)))
            for (const caches of cachesOf(tokens)) {
              const size = { op: 'linear', inFeatures, outFeatures, tokens, phase, caches } as const;
              context.add(await runGroup(setting, 'kernels', selected(context, variants(context.full)), size));
            }
    });
  },
};
