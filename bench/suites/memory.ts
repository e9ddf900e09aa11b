/** Memory of a training step: its peak, and whether a steady step still asks the system for memory. */
import { getIsa, getNumThreads } from '../../lib/device';
import { wantsOp } from '../harness/context';
import { OurModel } from '../harness/our_model';
import { exactly } from '../harness/results';
import { Pytorch } from '../rivals/pytorch';
import { createPytorchModel } from '../rivals/pytorch_training';
import { measureMemory, WARM_STEPS } from './memory_task';
import { modelResult, modelSize, modelVariants, pytorchOf } from './models';
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
      const use = await measureMemory({ variant, size, isa: getIsa(), threads: getNumThreads() });
      const ours = new OurModel(variant, size);
      context.add([
        modelResult(size, ours, peakRow, exactly(use.peak)),
        modelResult(size, ours, allocationRow, exactly(use.allocations)),
      ]);
      const python = pytorchOf(context)?.python;
      if (python !== undefined) {
        const pytorch = await Pytorch.start(python);
        const theirs = await createPytorchModel(pytorch, ours);
        for (let i = 0; i < WARM_STEPS; i++) await theirs.outputs();
        context.add([modelResult(size, theirs, peakRow, exactly(await theirs.peakBytes()))]);
        await pytorch.close();
      }
      await ours.close();
    }
  },
};
