/** One model in a separate process: memory left over from other models would hide its growth. */
import { memoryStats, setIsa, setNumThreads } from '../../lib/device';
import { OurModel } from '../harness/our_model';
import { watchGrowth } from '../harness/process_memory';
import { type MemoryTask, type MemoryUse, STEADY_STEPS, WARM_STEPS } from './memory_task';

process.once('message', ({ variant, size, placement, isa, threads }: MemoryTask) => {
  setIsa(isa);
  setNumThreads(threads);
  const growth = watchGrowth();
  const model = new OurModel(variant, size, placement);
  for (let i = 0; i < WARM_STEPS; i++) model.step();
  const before = memoryStats().systemAllocations;
  for (let i = 0; i < STEADY_STEPS; i++) model.step();
  const allocations = (memoryStats().systemAllocations - before) / STEADY_STEPS;
  const use: MemoryUse = { peak: growth(), allocations };
  process.send?.(use, () => process.disconnect());
});
