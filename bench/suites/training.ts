/** A whole training step of a small transformer, and where its time goes. */

import { type Tensor, zeros } from '../../lib';
import { kernels } from '../../lib/kernels';
import type { Contender } from '../harness/contender';
import { ourPlacements, precisions, wantsOp } from '../harness/context';
import { kernelTimes } from '../harness/kernel_times';
import { OurModel } from '../harness/our_model';
import { exactly, type Result } from '../harness/results';
import { interleave } from '../harness/sampling';
import { forEachSetting } from '../harness/settings';
import { isOursOnCpu, OURS, type Placement } from '../harness/side';
import { summarize } from '../harness/statistics';
import { createPytorchModels } from '../rivals/pytorch_training';
import { checkSteps, firstLosses, modelResult, modelSize, modelVariants, pytorchsOf } from './models';
import type { Suite } from './suite';

const PRODUCTS = new Set(['linear_forward', 'linear_backward', 'ffn_forward', 'ffn_backward', 'matmul']);
/** The head's products with the loss between them; the loss is timed apart. */
const FUSED_LOSS = 'linear_cross_entropy';
const PROFILED_STEPS = 5;

/** Milliseconds of the loss alone, forward and backward, on logits of the same size. */
function lossTime(tokens: number, classes: number, dtype: Placement['dtype']): number {
  const logits = zeros([tokens, classes], { dtype });
  const targets = zeros([tokens], { dtype: 'int32' });
  const [loss, count, dloss, lse] = [zeros([1]), zeros([1]), zeros([1]), zeros([tokens])];
  const call = () => {
    const sizes = { n: tokens, classes, ignore_index: -100 };
    const operands = { logits: logits.handle, targets: targets.handle, lse: lse.handle, count: count.handle };
    kernels.cross_entropy_forward({ ...sizes, ...operands, loss });
    kernels.cross_entropy_backward({ ...sizes, ...operands, dloss, dlogits: logits });
  };
  call();
  const samples = Array.from({ length: PROFILED_STEPS }, () => {
    const start = performance.now();
    call();
    return performance.now() - start;
  });
  const all: Tensor[] = [logits, targets, loss, count, dloss, lse];
  for (const one of all) one.dispose();
  return summarize(samples).median;
}

/** Milliseconds of each kernel per step, and the part of the step that no product takes. */
function profile(ours: OurModel): Result[] {
  const { size, placement } = ours;
  const steps: Map<string, number>[] = [];
  const totals = Array.from({ length: PROFILED_STEPS }, () => {
    const start = performance.now();
    steps.push(kernelTimes(() => void ours.step()));
    return performance.now() - start;
  });
  const names = [...new Set(steps.flatMap((times) => [...times.keys()]))];
  const kernel = (name: string) => summarize(steps.map((times) => times.get(name) ?? 0));
  const loss = lossTime(size.batch * size.seqLen, size.vocabSize, placement.dtype);
  const outside = steps.map((times, i) => {
    let products = (times.get(FUSED_LOSS) ?? 0) - loss;
    for (const name of PRODUCTS) products += times.get(name) ?? 0;
    return 1 - products / (totals[i] ?? 1);
  });
  const suite = 'training';
  return [
    modelResult(size, ours, { suite, phase: 'outside products', unit: 'share' }, summarize(outside)),
    modelResult(size, ours, { suite, phase: 'kernel: loss alone', unit: 'ms' }, exactly(loss)),
    ...names.map((name) => modelResult(size, ours, { suite, phase: `kernel: ${name}`, unit: 'ms' }, kernel(name))),
  ];
}

export const training: Suite = {
  name: 'training',
  about: 'a training step of a transformer: forward, loss, backward, clipping, AdamW',
  async run(context) {
    if (!wantsOp(context, 'training')) return;
    const size = modelSize(context);
    await forEachSetting(context, async (setting) => {
      const ours: OurModel[] = [];
      const theirs: Contender[] = [];
      const errors = new Map<Contender, number>();
      for (const variant of modelVariants(context)) {
        const reference = new OurModel(variant, size);
        const placed = ourPlacements(setting).map((placement) => new OurModel(variant, size, placement));
        const rivals: Contender[] = [];
        for (const pytorch of pytorchsOf(setting))
          rivals.push(...(await createPytorchModels(pytorch, reference, precisions(setting))));
        const losses = await firstLosses(reference);
        await reference.close();
        for (const other of [...placed, ...rivals]) {
          const error = await checkSteps(losses, other);
          if (other.side !== OURS) errors.set(other, error);
        }
        ours.push(...placed);
        theirs.push(...rivals);
      }
      const samples = await interleave([...ours, ...theirs], context.sampling);
      const flops = (variant: string) => ours.find((model) => model.variant === variant)?.flops ?? 0;
      context.add(
        [...samples].map(([contender, taken]) => {
          const error = errors.get(contender) ?? null;
          const row = { suite: 'training', phase: 'step', unit: 'ms', flops: flops(contender.variant), error } as const;
          return modelResult(size, contender, row, summarize(taken));
        }),
      );
      for (const model of ours.filter(isOursOnCpu)) context.add(profile(model));
      for (const contender of [...ours, ...theirs]) await contender.close();
    });
  },
};
