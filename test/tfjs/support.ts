/** tfjs with both backends that run in any Node, and layers of every structure with weights of fixed seeds. */
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import type { InnerActivation } from '../../lib/ops';
import type { Structure } from '../../lib/structures';
import type { TfLayer, TfLinearOptions } from '../../lib/tfjs';
import { install } from '../../lib/tfjs';
import type { TestRandom } from '../support/random';
import { smallShapes } from '../support/structures';

tf.enableProdMode();
// tfjs's own side of a comparison is slow, and slower on a busy machine.
jest.setTimeout(60_000);

export const BACKENDS = ['cpu', 'wasm'] as const;
export const sffn = install(tf);

type Shape = readonly number[];

export function tensorOf(random: TestRandom, shape: Shape, scale = 1): tf.Tensor {
  return tf.tensor(
    random.array(
      shape.reduce((a, b) => a * b, 1),
      -scale,
      scale,
    ),
    [...shape],
  );
}

export interface TestLayer {
  readonly names: readonly string[];
  readonly tensors: readonly tf.Tensor[];
  readonly alpha: number;
  readonly innerActivation: InnerActivation;
}

/** Weights by name: v (unless dense), u, bias, and a guide when alpha is not 0. */
export function layerOf(
  random: TestRandom,
  structure: Structure,
  sizes: readonly [number, number],
  alpha = 0,
  innerActivation: InnerActivation = 'none',
): TestLayer {
  const [inFeatures, outFeatures] = sizes;
  const { v, u } = smallShapes(structure, inFeatures, outFeatures);
  const parts: [string, Shape][] = [
    ...(v ? [['v', v] as [string, Shape]] : []),
    ['u', u],
    ['bias', [outFeatures]],
    ...(alpha > 0 ? [['guide', [outFeatures, inFeatures]] as [string, Shape]] : []),
  ];
  const tensors = parts.map(([, shape]) => tensorOf(random, shape));
  return { names: parts.map(([name]) => name), tensors, alpha, innerActivation };
}

/** The same tensors, in the order of a layer's names, as the functional API takes them. */
export function asLayer({ names, alpha, innerActivation }: TestLayer, tensors: readonly tf.Tensor[]): TfLayer {
  const at = (name: string) => tensors[names.indexOf(name)];
  const weight = at('guide');
  const guide = weight ? { weight, alpha } : null;
  return { v: at('v') ?? null, u: at('u')!, bias: at('bias') ?? null, guide, innerActivation };
}

export function applyLayer(structure: Structure, x: tf.Tensor, layer: TfLayer, options: TfLinearOptions): tf.Tensor {
  return sffn.structuredLinear(structure, x, layer, options);
}

export async function expectClose(actual: tf.Tensor, expected: tf.Tensor, tolerance = 1e-4): Promise<void> {
  expect(actual.shape).toEqual(expected.shape);
  const [a, b] = [await actual.data(), await expected.data()];
  let error = 0;
  let magnitude = 1e-3;
  for (let i = 0; i < b.length; i++) {
    error = Math.max(error, Math.abs(a[i]! - b[i]!));
    magnitude = Math.max(magnitude, Math.abs(b[i]!));
  }
  expect(error / magnitude).toBeLessThanOrEqual(tolerance);
}
