/** What the training and memory suites share: the models, ours and PyTorch's, and the rows of their results. */
import { getIsa, getNumThreads } from '../../lib/device';
import type { Contender } from '../harness/contender';
import { type Context, selected } from '../harness/context';
import type { ModelSize } from '../harness/our_model';
import type { Result, Unit } from '../harness/results';
import { mostError } from '../harness/side';
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

/** Eager and compiled, where they take part. */
export const pytorchsOf = ({ rivals }: Context): Pytorch[] =>
  rivals.filter((rival): rival is Pytorch => rival instanceof Pytorch);

/** Losses of the first steps, which update the model. */
export async function firstLosses(contender: Contender): Promise<number[]> {
  const losses: number[] = [];
  for (let step = 0; step < CHECKED_STEPS; step++) losses.push((await contender.outputs())[0]?.[0] ?? Number.NaN);
  return losses;
}

/** Relative difference from these losses. @throws {Error} if it is more than rounding. */
export async function checkSteps(expected: readonly number[], contender: Contender): Promise<number> {
  const losses = await firstLosses(contender);
  const error = Math.max(...losses.map((loss, i) => Math.abs(loss / expected[i]! - 1)));
  if (!(error < mostError(contender)))
    throw new Error(`${contender.side}, ${contender.variant}: losses differ by ${error}`);
  return error;
}

export interface ModelRow {
  readonly suite: string;
  readonly phase: string;
  readonly unit: Unit;
  readonly flops?: number;
  readonly error?: number | null;
}

export function modelResult(
  size: ModelSize,
  { variant, side }: Pick<Contender, 'variant' | 'side'>,
  row: ModelRow,
  summary: Summary,
): Result {
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
