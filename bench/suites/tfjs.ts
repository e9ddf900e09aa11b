/** Feedforward networks inside tfjs models: predict and fit, with our layer and with tfjs's own, on its wasm and cpu backends. */
import { getIsa, getNumThreads } from '../../lib/device';
import type { Tfjs } from '../../lib/tfjs';
import { type Context, selected, shapes, tokenCounts, wantsOp } from '../harness/context';
import { createProblem } from '../harness/problem';
import { interleave } from '../harness/sampling';
import { forEachSetting } from '../harness/settings';
import { relativeError, summarize } from '../harness/statistics';
import { type Task, TfjsModel } from '../harness/tfjs_models';
import { type Variant, variants } from '../harness/variants';
import type { TfjsBackend } from '../rivals/tfjs';
import type { Suite } from './suite';

const BACKENDS: readonly TfjsBackend[] = ['wasm', 'cpu'];
const MOST_ERROR = 1e-3;

/** tfjs's cpu backend takes seconds for a call: without --full it gets the low-rank network alone, and does not train. */
const isShort = (backend: TfjsBackend, task: Task, { structure }: Variant): boolean =>
  backend === 'wasm' || (task === 'predict' && structure === 'lowrank');

/** tfjs's own layers train dense and low-rank networks alone. */
const canTrain = ({ structure }: Variant): boolean => structure === 'dense' || structure === 'lowrank';

async function loadTfjs(): Promise<Tfjs> {
  const tf = await import('@tensorflow/tfjs');
  await import('@tensorflow/tfjs-backend-wasm');
  tf.enableProdMode();
  return tf;
}

interface Case {
  readonly backend: TfjsBackend;
  readonly task: Task;
  readonly variant: Variant;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly tokens: number;
}

async function measure(context: Context, tf: Tfjs, one: Case): Promise<void> {
  const { backend, task, variant, inFeatures, outFeatures, tokens } = one;
  await tf.setBackend(backend);
  const phase = task === 'predict' ? 'forward' : 'forward+backward';
  const problem = createProblem(variant, { op: 'ffn', inFeatures, outFeatures, tokens, phase, caches: 'hot' });
  const ours = TfjsModel.ours(tf, backend, task, problem);
  const compared = context.rivals.some(({ name }) => name === `tfjs-${backend}`);
  const theirs = compared ? TfjsModel.theirs(tf, backend, task, problem) : null;
  const contenders = theirs ? [ours, theirs] : [ours];
  const [expected] = await ours.outputs();
  const error = theirs && relativeError((await theirs.outputs())[0]!, expected!);
  if (error !== null && !(error < MOST_ERROR)) throw new Error(`${theirs?.side}, ${variant.name}: differs by ${error}`);
  const samples = await interleave(contenders, context.sampling);
  context.add(
    contenders.map((contender) => ({
      suite: 'tfjs',
      op: `${task} on ${backend}`,
      phase,
      shape: `${inFeatures}x${outFeatures}`,
      tokens,
      threads: getNumThreads(),
      isa: getIsa(),
      variant: variant.name,
      side: contender.side,
      unit: 'ms' as const,
      ...summarize(samples.get(contender) ?? []),
      flops: problem.flops,
      bytes: problem.bytes,
      error: contender === ours ? null : error,
    })),
  );
  for (const contender of contenders) await contender.close();
}

export const tfjs: Suite = {
  name: 'tfjs',
  about: 'a feedforward network in a tfjs model: predict and fit, against its own layers',
  async run(context) {
    if (!wantsOp(context, 'tfjs')) return;
    const tf = await loadTfjs();
    await forEachSetting(context, async (setting) => {
      for (const [inFeatures, outFeatures] of shapes(context, [[768, 3072]]))
        for (const tokens of tokenCounts(context, [64, 512]))
          for (const backend of BACKENDS)
            for (const task of ['predict', 'fit'] as const)
              for (const variant of selected(context, variants(context.full)))
                if ((context.full || isShort(backend, task, variant)) && (task === 'predict' || canTrain(variant)))
                  await measure(setting, tf, { backend, task, variant, inFeatures, outFeatures, tokens });
    });
  },
};
