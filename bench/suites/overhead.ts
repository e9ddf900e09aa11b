/** The cost of a call without its arithmetic: a layer of one input and one output on one token. */
import { noGrad } from '../../lib/autograd';
import { getIsa, getNumThreads } from '../../lib/device';
import { defineLinear } from '../../lib/functional';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import { linear } from '../../lib/ops';
import { tidy } from '../../lib/scope';
import { tensor } from '../../lib/tensor';
import { wantsOp } from '../harness/context';
import { timeCalls } from '../harness/sampling';
import { OURS } from '../harness/side';
import { summarize } from '../harness/statistics';
import type { Suite } from './suite';

/** Calls of one sample: a single call is shorter than the clock's step. */
const BATCH = 1000;

export const overhead: Suite = {
  name: 'overhead',
  about: 'microseconds of a call that computes next to nothing',
  async run(context) {
    if (!wantsOp(context, 'overhead')) return;
    const x = tensor([1], [1, 1]);
    const weight = tensor([1], [1, 1]);
    const y = tensor([0], [1, 1]);
    const sizes = Int32Array.of(1, 1, 1, 1, 1, 1, 0);
    const layer = defineLinear({ structure: 'dense', inFeatures: 1, outFeatures: 1 });
    const arrays = { x: Float32Array.of(1), u: Float32Array.of(1) };
    const out = { y: new Float32Array(1) };
    const levels: Readonly<Record<string, () => void>> = {
      'kernel through Node-API': () =>
        kernels.linear_forward({
          x,
          v: null,
          u: weight,
          guide: null,
          bias: null,
          residual: null,
          h: null,
          pre: null,
          y,
          n: 1,
          dims: sizes,
          factor_scale: 1,
          guide_scale: 0,
          activation: native.activations.none,
        }),
      'layer on typed arrays': () => layer.forward(arrays, { out }),
      'op on tensors': () => tidy(() => linear(x, weight)),
    };
    const results = [];
    for (const [op, call] of Object.entries(levels)) {
      const batch = () => {
        for (let i = 0; i < BATCH; i++) call();
      };
      await timeCalls(() => noGrad(batch), 50);
      const { rounds, milliseconds } = context.sampling;
      const samples = await timeCalls(() => noGrad(batch), Math.max(20, milliseconds) * rounds);
      results.push({
        suite: 'overhead',
        op,
        phase: 'forward',
        shape: '1x1',
        tokens: 1,
        threads: getNumThreads(),
        isa: getIsa(),
        variant: 'dense',
        side: OURS,
        unit: 'ms' as const,
        ...summarize(samples.map((milliseconds) => milliseconds / BATCH)),
        flops: 2,
        bytes: 12,
        error: null,
      });
    }
    context.add(results);
    for (const one of [x, weight, y]) one.dispose();
  },
};
