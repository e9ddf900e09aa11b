/**
 * For costs.test.ts: asks the model, measures the costs of the CUDA device in small, and prints what that left. In a process of its own, because the
 * executor reads once how many multiprocessors it has, and the work is proportional to them.
 */
import { tuneCosts } from '../../lib/cuda/tune_costs';
import { deviceCode } from '../../lib/device';
import { native } from '../../lib/native';

// The model first: twice the costs take twice the time.
const CUDA = deviceCode('cuda');
const before = native.settings(CUDA);
const times = Object.entries(before).filter(
  (entry): entry is [string, number] => typeof entry[1] === 'number' && !/patience|split_depth/.test(entry[0]),
);
const chain = native.plan(CUDA, 'chain', [1024, 256, 256, 128]);
native.setSettings(CUDA, Object.fromEntries(times.map(([name, value]) => [name, 2 * value])));
const doubled = native.plan(CUDA, 'chain', [1024, 256, 256, 128]);
native.setSettings(CUDA, { split_depth: Number.MAX_SAFE_INTEGER });
const plan = native.plan(CUDA, 'product', [640, 128, 256, 2]);
native.setSettings(CUDA, before);

const found: Record<string, number> = {};
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
const { kernel } = native.plan(CUDA, 'product', [128, 128, 64, 2]);
console.log(JSON.stringify({ measured, found, before, after: native.settings(CUDA), kernel, chain, doubled, plan }));
