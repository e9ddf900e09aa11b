/** Memory of a training step: its peak, and whether a steady step still asks the system for memory. */
import { emptyCache, memoryStats } from '../../lib/device';
import { wantsOp } from '../harness/context';
import { OurModel } from '../harness/our_model';
import { watchGrowth } from '../harness/process_memory';
import { exactly } from '../harness/results';
import { Pytorch } from '../rivals/pytorch';
import { createPytorchModel } from '../rivals/pytorch_training';
import { modelResult, modelSize, modelVariants, pytorchOf } from './models';
import type { Suite } from './suite';

const WARM_STEPS = 3;
const STEADY_STEPS = 5;

export const memory: Suite = {
  name: 'memory',
  about: 'peak memory of a training step, and system allocations of a steady one',
  async run(context) {
    if (!wantsOp(context, 'memory')) return;
    const size = modelSize(context);
    const peakRow = { suite: 'memory', phase: 'peak', unit: 'bytes' } as const;
    for (const variant of modelVariants(context)) {
      emptyCache();
      const growth = watchGrowth();
      const ours = new OurModel(variant, size);
      for (let i = 0; i < WARM_STEPS; i++) ours.step();
      const before = memoryStats().systemAllocations;
      for (let i = 0; i < STEADY_STEPS; i++) ours.step();
      const allocations = (memoryStats().systemAllocations - before) / STEADY_STEPS;
      context.add([
        modelResult(size, ours, peakRow, exactly(growth())),
        modelResult(size, ours, { suite: 'memory', phase: 'system allocations', unit: 'count' }, exactly(allocations)),
      ]);
      const python = pytorchOf(context)?.python;
      if (python !== undefined) {
        // A process of its own: memory that an earlier model left behind would hide this one's.
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
