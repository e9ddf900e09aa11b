/** Memory of a training step: its peak, and whether a steady step still asks the system for memory. */
import { getIsa, getNumThreads } from '../../lib/device';
import { ourPlacements, precisions, wantsOp } from '../harness/context';
import { OurModel } from '../harness/our_model';
import { exactly } from '../harness/results';
import { sideOf } from '../harness/side';
import { Pytorch } from '../rivals/pytorch';
import { createPytorchModels } from '../rivals/pytorch_training';
import { measureMemory, WARM_STEPS } from './memory_task';
import { modelResult, modelSize, modelVariants, pytorchsOf } from './models';
import type { Suite } from './suite';

export const memory: Suite = {
  name: 'memory',
  about: 'peak memory of a training step, and system allocations of a steady one',
  async run(context) {
    if (!wantsOp(context, 'memory')) return;
    const size = modelSize(context);
    const peakRow = { suite: 'memory', phase: 'peak', unit: 'bytes' } as const;
    const allocationRow = { suite: 'memory', phase: 'system allocations', unit: 'count' } as const;
    for (const variant of modelVariants(context)) {
      for (const placement of ourPlacements({ ...context, placements: [] })) {
        const use = await measureMemory({ variant, size, placement, isa: getIsa(), threads: getNumThreads() });
        const ours = { variant: variant.name, side: sideOf(placement) };
        context.add([
          modelResult(size, ours, peakRow, exactly(use.peak)),
          modelResult(size, ours, allocationRow, exactly(use.allocations)),
        ]);
      }
      const weights = new OurModel(variant, size);
      for (const { python, compiled } of pytorchsOf(context))
        for (const precision of precisions(context)) {
          const pytorch = await Pytorch.start(python, compiled);
          for (const theirs of await createPytorchModels(pytorch, weights, [precision])) {
            for (let i = 0; i < WARM_STEPS; i++) await theirs.outputs();
            context.add([modelResult(size, theirs, peakRow, exactly(await theirs.peakBytes()))]);
          }
          await pytorch.close();
        }
      await weights.close();
    }
  },
};
