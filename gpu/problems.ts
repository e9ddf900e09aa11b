/** The timed problems, for ours and for PyTorch: `node gpu/problems SIZE` prints these lists for gpu/torch. */
import { DENSE, layerSize, MODEL_VARIANTS, type Variant } from '../bench/harness/variants';
import { checkChoice } from '../lib/errors';
import { PRESETS, type PresetName } from '../lib/nn';
import type { Shape } from '../lib/tensor';
import { SIZES, type Size } from './support/rows';

export type Phase = 'forward' | 'forward+backward';

export interface LayerShapes {
  /** First factor, null for a dense layer. */
  readonly v: Shape | null;
  readonly u: Shape;
}

export interface KernelProblem {
  /** All of the below in words; rows of one problem are matched by it. */
  readonly name: string;
  readonly op: 'linear' | 'ffn' | 'attention';
  readonly structure: string;
  readonly phase: Phase;
  readonly tokens: number;
  readonly width: number;
  /** Of a linear layer, or of the two in a network with GELU between them; without biases. */
  readonly layers: readonly LayerShapes[];
  /** Of attention: sequences, and heads of each, without rotary positions. */
  readonly batch: number;
  readonly heads: number;
  /** Copies of the weights, used in turn, so that runs on few tokens do not find them in the cache. */
  readonly copies: number;
  readonly flops: number;
}

/** Larger than any cache. */
const COLD_BYTES = 256e6;
const COLD_TOKENS = 1024;
const BYTES = 2;

const elements = (shape: Shape | null): number => shape?.reduce((a, b) => a * b, 1) ?? 0;

function layerProblem(
  op: 'linear' | 'ffn',
  variant: Variant,
  width: number,
  tokens: number,
  phase: Phase,
): KernelProblem {
  const sizes = [layerSize(variant, width, 4 * width)];
  if (op === 'ffn') sizes.push(layerSize(variant, 4 * width, width));
  const bytes = BYTES * sizes.reduce((total, { v, u }) => total + elements(v) + elements(u), 0);
  const macs = sizes.reduce((total, { dims }) => total + dims.macs, 0);
  return {
    name: `${op} ${variant.name}, width ${width}, ${tokens} tokens, ${phase}`,
    op,
    structure: variant.name,
    phase,
    tokens,
    width,
    layers: sizes.map(({ v, u }) => ({ v, u })),
    batch: 1,
    heads: 1,
    copies: tokens > COLD_TOKENS ? 1 : Math.max(1, Math.min(16, Math.ceil(COLD_BYTES / bytes))),
    flops: 2 * macs * tokens * (phase === 'forward' ? 1 : 3),
  };
}

function attentionProblem(batch: number, seq: number, width: number, heads: number, phase: Phase): KernelProblem {
  return {
    name: `attention, ${batch} x ${seq} tokens, ${heads} heads of ${width / heads}, ${phase}`,
    op: 'attention',
    structure: 'attention',
    phase,
    tokens: batch * seq,
    width,
    layers: [],
    batch,
    heads,
    copies: 1,
    // Two products forward and five backward, of which causality needs half.
    flops: 2 * batch * seq * seq * width * (phase === 'forward' ? 1 : 3.5),
  };
}

/** Operation, width, tokens, phase; each for every structure. The most informative first: time may run out. */
type Case = readonly ['linear' | 'ffn', number, number, Phase];

const FULL: readonly Case[] = [
  ...[2048, 1024, 4096].flatMap((width): Case[] => [
    ['linear', width, 8192, 'forward'],
    ['linear', width, 8192, 'forward+backward'],
    ['ffn', width, 8192, 'forward+backward'],
  ]),
  ...[2048, 4096].flatMap((width) => [1, 16, 128].map((tokens): Case => ['linear', width, tokens, 'forward'])),
  ['linear', 2048, 1024, 'forward'],
  ['linear', 2048, 1024, 'forward+backward'],
  ['ffn', 2048, 16384, 'forward+backward'],
];

const SMALLER: Readonly<Record<'small' | 'tiny', readonly Case[]>> = {
  small: [
    ['linear', 256, 256, 'forward+backward'],
    ['ffn', 256, 256, 'forward+backward'],
    ['linear', 256, 1, 'forward'],
  ],
  tiny: [['ffn', 64, 64, 'forward+backward']],
};

export function kernelProblems(size: Size): KernelProblem[] {
  const cases = size === 'full' ? FULL : SMALLER[size];
  const layers = cases.flatMap(([op, width, tokens, phase]) =>
    MODEL_VARIANTS.map((variant) => layerProblem(op, variant, width, tokens, phase)),
  );
  const [batch, seq, width] = size === 'full' ? [8, 1024, 2048] : size === 'small' ? [2, 128, 256] : [1, 16, 128];
  const attention = (['forward', 'forward+backward'] as const).flatMap((phase) =>
    [128, 64].map((head) => attentionProblem(batch, seq, width, width / head, phase)),
  );
  // Attention is asked for before what is asked for last.
  const first = size === 'full' ? 12 : layers.length;
  return [...layers.slice(0, first), ...attention, ...layers.slice(first)];
}

/** A few of them, timed with kernels chosen by hand. */
export function switchProblems(size: Size): KernelProblem[] {
  const [width, tokens] = size === 'full' ? [2048, 8192] : size === 'small' ? [256, 256] : [64, 64];
  const structured = MODEL_VARIANTS.filter(({ structure }) => structure === 'lowrank' || structure === 'blockshuffle');
  return [
    layerProblem('linear', DENSE, width, tokens, 'forward+backward'),
    ...structured.flatMap((variant) => [
      layerProblem('linear', variant, width, tokens, 'forward'),
      layerProblem('ffn', variant, width, tokens, 'forward+backward'),
    ]),
  ];
}

export interface ModelJob {
  readonly name: string;
  readonly preset: PresetName;
  readonly variant: Variant;
  /** Sequences of a training step. */
  readonly batch: number;
  readonly vocabSize: number;
  readonly dModel: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly seqLen: number;
  /** Of every block but the first, which is dense. */
  readonly fc1: LayerShapes;
  readonly fc2: LayerShapes;
}

function modelJob(preset: PresetName, structure: string, batch: number, vocabSize = 32000): ModelJob {
  const variant = MODEL_VARIANTS.find((one) => one.structure === structure) ?? DENSE;
  const { dModel } = PRESETS[preset];
  const shapes = (inFeatures: number, outFeatures: number): LayerShapes => {
    const { v, u } = layerSize(variant, inFeatures, outFeatures);
    return { v, u };
  };
  return {
    name: `${preset} ${variant.name}`,
    preset,
    variant,
    batch,
    vocabSize,
    ...PRESETS[preset],
    fc1: shapes(dModel, 4 * dModel),
    fc2: shapes(4 * dModel, dModel),
  };
}

/** The most informative first. */
export function trainingJobs(size: Size): ModelJob[] {
  if (size === 'tiny') return [modelJob('tiny', 'blockshuffle', 1, 64)];
  if (size === 'small') return ['dense', 'blockshuffle', 'lowrank'].map((name) => modelJob('tiny', name, 2, 500));
  return [
    ...['dense', 'blockshuffle', 'lowrank'].map((name) => modelJob('xl', name, 8)),
    ...['dense', 'blockshuffle', 'lowrank'].map((name) => modelJob('s', name, 16)),
    modelJob('xl', 'blockdense', 8),
  ];
}

export interface DecodingJob extends ModelJob {
  /** Tokens in the cache. */
  readonly context: number;
  readonly batches: readonly number[];
}

export function decodingJobs(size: Size): DecodingJob[] {
  if (size === 'tiny') return [{ ...modelJob('tiny', 'blockshuffle', 1, 64), context: 8, batches: [1] }];
  const [preset, context, vocabSize] = size === 'full' ? (['xl', 512, 32000] as const) : (['tiny', 32, 500] as const);
  return ['dense', 'blockshuffle', 'lowrank', 'blockdense'].map((name) => ({
    ...modelJob(preset, name, 1, vocabSize),
    context,
    batches: size === 'full' ? [1, 8, 16] : [1, 4],
  }));
}

if (require.main === module) {
  const [size] = process.argv.slice(2);
  checkChoice('size', size, SIZES);
  const lists = { kernels: kernelProblems(size), training: trainingJobs(size), decoding: decodingJobs(size) };
  process.stdout.write(JSON.stringify(lists));
}
