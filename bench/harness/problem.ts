/** A problem that every contender solves on the same numbers: one linear layer, or a feedforward network of two. */
import { Generator } from '../../lib/random';
import { numel, type Shape } from '../../lib/tensor';
import { type LayerSize, layerSize, type Variant } from './variants';

export type Phase = 'forward' | 'forward+backward';

/** Weights of a problem are copied until they are larger than any cache, like the layers of a deep model. */
const COLD_BYTES = 100e6;
/** From this many tokens on, loading the weights from memory hardly counts. */
const COLD_TOKENS = 8;

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
  /** Copies of the weights that the calls take in turn. */
  readonly copies: number;
  readonly flops: number;
  /** Each input, weight and result (with backward: each gradient too) moved once. */
  readonly bytes: number;
}

export interface ProblemSize {
  readonly op: 'linear' | 'ffn';
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly tokens: number;
  readonly phase: Phase;
}

/** ffn: inFeatures → outFeatures → inFeatures with biases and GELU; linear: without either. */
export function createProblem(variant: Variant, { op, inFeatures, outFeatures, tokens, phase }: ProblemSize): Problem {
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
    copies: tokens <= COLD_TOKENS ? Math.ceil(COLD_BYTES / (4 * weights)) : 1,
    flops: 2 * macs * tokens * (backward ? 3 : 1),
    bytes: 4 * (weights + x.length + dy.length) * (backward ? 2 : 1),
  };
}
