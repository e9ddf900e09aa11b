/** A whole feedforward network: up, bias, GELU, down, bias. */
import { selected, shapes, tokenCounts, wantsOp, wantsPhase } from '../harness/context';
import { runGroup } from '../harness/group';
import { cachesOf, type Phase } from '../harness/problem';
import { forEachSetting } from '../harness/settings';
import { variants } from '../harness/variants';
import type { Suite } from './suite';

const FULL_SHAPES = [768, 1024, 2048].map((d) => [d, 4 * d] as const);
const PHASES: readonly Phase[] = ['forward', 'forward+backward'];

export const ffn: Suite = {
  name: 'ffn',
  about: 'a feedforward network of two layers with GELU',
  async run(context) {
    if (!wantsOp(context, 'ffn')) return;
    await forEachSetting(context, async (setting) => {
      for (const [inFeatures, outFeatures] of shapes(context, context.full ? FULL_SHAPES : [[768, 3072]]))
        for (const tokens of tokenCounts(context, context.full ? [1, 8, 64, 512, 2048] : [1, 8, 64, 512]))
          for (const phase of PHASES.filter((one) => wantsPhase(context, one)))
            for (const caches of cachesOf(tokens)) {
              const size = { op: 'ffn', inFeatures, outFeatures, tokens, phase, caches } as const;
              context.add(await runGroup(setting, 'ffn', selected(context, variants(context.full)), size));
            }
    });
  },
};
