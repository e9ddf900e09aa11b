/** What the training and memory suites share: the models, ours and PyTorch's, and the rows of their results. */
import { getIsa, getNumThreads } from '../../lib/device';
import { type Contender, mostError, ON_CPU } from '../harness/contender';
import { type Context, selected } from '../harness/context';
import type { ModelSize } from '../harness/our_model';
import type { Result, Unit } from '../harness/results';
import type { Summary } from '../harness/statistics';
import { MODEL_VARIANTS, type Variant } from '../harness/variants';
import { Pytorch } from '../rivals/pytorch';

/** 4 layers (the first dense) of the paper's smallest width, 2 × 256 tokens. */
const SIZE: ModelSize = { dModel: 768, nLayers: 4, nHeads: 12, vocabSize: 8192, batch: 2, seqLen: 256 };

/** Steps after which both sides must still agree, so that the updates are checked too. */
const CHECKED_STEPS = 3;

/** `--shape 64x256` makes a model of that width for a quick look. @throws {Error} when its dFF is not 4·dModel. */
export function modelSize({ filters }: Context): ModelSize {
  const [shape] = filters.shape ?? [];
  if (shape === undefined) return SIZE;
  const [dModel = 0, dFF = 0] = shape.split('x').map(Number);
  if (!(dModel >= 12 && dModel % 12 === 0 && dFF === 4 * dModel))
    throw new Error(`--shape: a model needs DxF with D a multiple of 12 and F = 4·D, not ${shape}`);
  return { ...SIZE, dModel, nHeads: dModel % 24 === 0 ? 12 : 6, ...(dModel < 256 && { vocabSize: 512, seqLen: 32 }) };
}

export const modelVariants = (context: Context): readonly Variant[] => selected(context, MODEL_VARIANTS);

export const pytorchOf = ({ rivals }: Context): Pytorch | undefined =>
  rivals.find((rival): rival is Pytorch => rival instanceof Pytorch);

/** Relative difference of the losses of the first steps. @throws {Error} if it is more than rounding. */
export async function checkSteps(ours: Contender, theirs: Contender, most = mostError(ON_CPU)): Promise<number> {
  let error = 0;
  for (let step = 0; step < CHECKED_STEPS; step++) {
    const [[mine], [other]] = [await ours.outputs(), await theirs.outputs()];
    const [a, b] = [mine?.[0] ?? Number.NaN, other?.[0] ?? Number.NaN];
    error = Math.max(error, Math.abs(a - b) / Math.abs(a));
  }
  if (!(error < most)) throw new Error(`${theirs.side}, ${theirs.variant}: losses differ by ${error}`);
  return error;
}

export interface ModelRow {
  readonly suite: string;
  readonly phase: string;
  readonly unit: Unit;
  readonly flops?: number;
  readonly error?: number | null;
}

export function modelResult(size: ModelSize, { variant, side }: Contender, row: ModelRow, summary: Summary): Result {
  return {
    op: 'training step',
    shape: `d${size.dModel} ${size.nLayers} layers`,
    tokens: size.batch * size.seqLen,
    threads: getNumThreads(),
    isa: getIsa(),
    variant,
    side,
    flops: 0,
    bytes: 0,
    error: null,
    ...row,
    ...summary,
  };
}
