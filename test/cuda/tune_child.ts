/**
 * For costs.test.ts: asks the model, measures the costs of the CUDA device in small, and prints what that left. In a process of its own, because the
 * executor reads once how many multiprocessors it has, and the work is proportional to them.
 */
import { getCudaTf32 } from '../../lib';
import { tuneCosts } from '../../lib/cuda/tune_costs';
import { native } from '../../lib/native';

// The model first: twice the costs take twice the time.
const costs = native.gemmCosts();
const times = Object.entries(costs).filter(([name]) => !/patience|split_depth/.test(name));
const chain = native.planChain(1024, 256, 256, 128);
native.setGemmCosts(Object.fromEntries(times.map(([name, value]) => [name, 2 * value])));
const doubled = native.planChain(1024, 256, 256, 128);
native.setGemmCosts({ split_depth: Number.MAX_SAFE_INTEGER });
const plan = native.planProduct(640, 128, 256, 2);
native.setGemmCosts(costs);

const found: Record<string, number> = {};
const state = () => ({ costs: native.gemmCosts(), switches: native.gemmSwitches(), tf32: getCudaTf32() });
const before = state();
const measured = tuneCosts({
  depths: [64, 192],
  rounds: 1,
  launches: 1,
  repeats: 1,
  chains: [[200, 128, 64, 64]],
  onCost: (name, value) => {
    found[name] = value;
  },
});
const { kernel } = native.planProduct(128, 128, 64, 2);
console.log(JSON.stringify({ measured, found, before, after: state(), kernel, chain, doubled, plan }));
