/** A problem that every contender solves on the same numbers: one linear layer, or a feedforward network of two. */

import { type DType, ELEMENTS } from '../../lib/dtype';
import { Generator } from '../../lib/random';
import { numel, type Shape } from '../../lib/tensor';
import { type LayerSize, layerSize, type Variant } from './variants';

export type Phase = 'forward' | 'forward+backward';

/** Where the weights are when a call begins: in memory, like those of the layers of a deep model, or in the caches. */
export type Caches = 'cold' | 'hot';

/** Copies of cold weights are together larger than any cache. */
const COLD_BYTES = 100e6;
/** With more tokens, loading the weights from memory hardly counts. */
const MOST_COLD_TOKENS = 8;

/** With few tokens both, in groups of their own. */
export const cachesOf = (tokens: number): readonly Caches[] => (tokens <= MOST_COLD_TOKENS ? ['cold', 'hot'] : ['hot']);

/** The phase of a result: 'forward, cold' where the caches matter. */
export const phaseName = ({ phase, tokens, caches }: Pick<ProblemSize, 'phase' | 'tokens' | 'caches'>): string =>
  tokens <= MOST_COLD_TOKENS ? `${phase}, ${caches}` : phase;

export interface LayerArrays {
  readonly v: Float32Array | null;
  readonly u: Float32Array;
  readonly bias: Float32Array | null;
}

export interface Problem {
  readonly op: 'linear' | 'ffn';
  readonly variant: string;
  readonly phase: Phase;
  readonly tokens: number;
  readonly sizes: readonly LayerSize[];
  readonly layers: readonly LayerArrays[];
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly caches: Caches;
  /** How many. */
  readonly weights: number;
  readonly flops: number;
  /** Each input, weight and result (with backward: each gradient too) moved once, in float32. */
  readonly bytes: number;
}

export interface ProblemSize {
  readonly op: 'linear' | 'ffn';
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly tokens: number;
  readonly phase: Phase;
  readonly caches: Caches;
}

/** Copies of the weights that the calls take in turn, by the size of an element. */
export const copiesOf = ({ caches, weights }: Problem, dtype: DType): number =>
  caches === 'cold' ? Math.ceil(COLD_BYTES / (ELEMENTS[dtype].bytes * weights)) : 1;

/** ffn: inFeatures → outFeatures → inFeatures with biases and GELU; linear: without either. */
export function createProblem(variant: Variant, size: ProblemSize): Problem {
  const { op, inFeatures, outFeatures, tokens, phase, caches } = size;
  const generator = new Generator(17);
  const draw = (shape: Shape, std: number): Float32Array => {
    const drawn = generator.normal(shape, 0, std);
    const array = Float32Array.from(drawn.data);
    drawn.dispose();
    return array;
  };
  const first = layerSize(variant, inFeatures, outFeatures);
  const sizes = op === 'linear' ? [first] : [first, layerSize(variant, outFeatures, inFeatures)];
  const weight = (shape: Shape) => draw(shape, 1 / Math.sqrt(shape.at(-1) ?? 1));
  const layers = sizes.map(({ v, u, dims }) => ({
    v: v && weight(v),
    u: weight(u),
    bias: op === 'ffn' ? draw([dims.outFeatures], 0.1) : null,
  }));
  const last = sizes[sizes.length - 1] ?? first;
  const x = draw([tokens, inFeatures], 1);
  const dy = draw([tokens, last.outFeatures], 1);
  const macs = sizes.reduce((sum, { dims }) => sum + dims.macs, 0);
  const weights = sizes.reduce((sum, { v, u }) => sum + (v ? numel(v) : 0) + numel(u), 0);
  const backward = phase !== 'forward';
  return {
    op,
    variant: variant.name,
    phase,
    tokens,
    sizes,
    layers,
    x,
    dy,
    caches,
    weights,
    flops: 2 * macs * tokens * (backward ? 3 : 1),
    bytes: 4 * (weights + x.length + dy.length) * (backward ? 2 : 1),
  };
}
