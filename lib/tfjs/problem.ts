/** What a kernel call computes, prepared from the shapes of its operands: one layer, or a feedforward network of two. */
import { formatShape, ShapeError } from '../errors';
import { defineFeedForward, defineLinear } from '../functional';
import type { FeedForwardGradient } from '../functional/feed_forward';
import type { LinearGradient } from '../functional/linear';
import { type LinearDims, linearDims } from '../ops/linear_dims';
import { numel, type Shape } from '../tensor';
import type { KernelAttributes, LayerAttributes } from './attributes';
import { type LayerOperands, layerOperands, type Named, operand } from './operands';

type Arrays = Named<Float32Array>;

export interface Problem {
  readonly yShape: Shape;
  /** What the gradient needs beside the operands, by name, in the order of the forward kernel's outputs. */
  readonly saved: Named<Shape>;
  /** Writes `y` and, where they are in `out`, the saved ones. */
  forward(arrays: Arrays, out: Arrays): void;
  /** `arrays` holds dy and the saved ones, too; `out` gets the gradient of each operand named in it. */
  backward(arrays: Arrays, out: Arrays): void;
}

/** Leading dimensions of x [..., features]. @throws {ShapeError} */
function leading(where: string, x: Shape, features: number): Shape {
  if (x.length < 1 || x[x.length - 1] !== features)
    throw new ShapeError(`${where}: x`, `[..., ${features}]`, formatShape(x));
  return x.slice(0, -1);
}

/** Sizes of a layer. @throws {ShapeError} unless its operands fit each other. */
function dimsOf(
  where: string,
  { v, u, bias, guide }: LayerOperands<Shape>,
  { innerActivation }: LayerAttributes,
): LinearDims {
  const dims = linearDims(where, v, u, innerActivation);
  const check = (name: string, shape: Shape | null, expected: Shape) => {
    if (shape !== null && formatShape(shape) !== formatShape(expected))
      throw new ShapeError(`${where}: ${name}`, formatShape(expected), formatShape(shape));
  };
  check('bias', bias, [dims.outFeatures]);
  check('guide', guide, [dims.outFeatures, dims.inFeatures]);
  return dims;
}

/** Shapes without those that do not exist. */
const present = (shapes: readonly (readonly [string, Shape | false])[]): Named<Shape> =>
  new Map(shapes.flatMap(([name, shape]): [string, Shape][] => (shape ? [[name, shape]] : [])));

/** A layer's arrays as the functional API takes them: alpha belongs to a guide. */
const arraysOf = (arrays: Arrays, { alpha }: LayerAttributes, suffix: '' | '1' | '2' = '') => {
  const layer = layerOperands(arrays, suffix);
  return layer.guide === null ? layer : { ...layer, alpha };
};

/** act(alpha · x Wᵀ + (1 − alpha) · S(x) + bias). @throws {ShapeError} */
export function linearProblem(where: string, shapes: Named<Shape>, attributes: KernelAttributes): Problem {
  const { activation, layers } = attributes;
  const operands = layerOperands(shapes);
  const dims = dimsOf(where, operands, layers[0]);
  const { innerActivation } = dims;
  const layer = defineLinear({ v: operands.v, u: operands.u, activation, innerActivation });
  const lead = leading(where, operand(shapes, 'x'), dims.inFeatures);
  const n = numel(lead);
  const inputs = (arrays: Arrays) => ({ x: operand(arrays, 'x'), ...arraysOf(arrays, layers[0]) });
  const gradients: Readonly<Record<string, LinearGradient>> = {
    x: 'dx',
    v: 'dv',
    u: 'du',
    bias: 'dbias',
    guide: 'dguide',
  };
  return {
    yShape: [...lead, layer.features],
    saved: present([
      ['h', dims.hidden > 0 && [n, dims.hidden]],
      ['pre', activation !== 'none' && [n, dims.outFeatures]],
    ]),
    forward(arrays, out) {
      const wanted = { y: out.get('y'), h: out.get('h'), pre: out.get('pre') };
      layer.forward(inputs(arrays), { training: wanted.h !== undefined || wanted.pre !== undefined, out: wanted });
    },
    backward(arrays, out) {
      const saved = { h: arrays.get('h'), pre: arrays.get('pre') };
      layer.backward({ ...inputs(arrays), dy: operand(arrays, 'dy'), saved }, renamed(out, gradients));
    },
  };
}

/** fc2(act(fc1(x))). @throws {ShapeError} */
export function ffnProblem(where: string, shapes: Named<Shape>, attributes: KernelAttributes): Problem {
  const { activation, layers } = attributes;
  const [first, second] = [layerOperands(shapes, '1'), layerOperands(shapes, '2')];
  const fc1 = dimsOf(`${where}: fc1`, first, layers[0]);
  const fc2 = dimsOf(`${where}: fc2`, second, layers[1]);
  const network = defineFeedForward({
    fc1: { ...first, innerActivation: fc1.innerActivation },
    fc2: { ...second, innerActivation: fc2.innerActivation },
    activation,
  });
  const lead = leading(where, operand(shapes, 'x'), fc1.inFeatures);
  const n = numel(lead);
  const inputs = (arrays: Arrays) => ({
    x: operand(arrays, 'x'),
    fc1: arraysOf(arrays, layers[0], '1'),
    fc2: arraysOf(arrays, layers[1], '2'),
  });
  const gradients: Readonly<Record<string, FeedForwardGradient>> = {
    x: 'dx',
    v1: 'fc1.dv',
    u1: 'fc1.du',
    bias1: 'fc1.dbias',
    guide1: 'fc1.dguide',
    v2: 'fc2.dv',
    u2: 'fc2.du',
    bias2: 'fc2.dbias',
    guide2: 'fc2.dguide',
  };
  return {
    yShape: [...lead, fc2.outFeatures],
    saved: present([
      ['h1', fc1.hidden > 0 && [n, fc1.hidden]],
      ['pre', [n, fc1.outFeatures]],
      ['h2', fc2.hidden > 0 && [n, fc2.hidden]],
    ]),
    forward(arrays, out) {
      const wanted = { y: out.get('y'), h1: out.get('h1'), pre: out.get('pre'), h2: out.get('h2') };
      network.forward(inputs(arrays), { training: wanted.pre !== undefined, out: wanted });
    },
    backward(arrays, out) {
      const saved = { h1: arrays.get('h1'), pre: arrays.get('pre'), h2: arrays.get('h2') };
      network.backward({ ...inputs(arrays), dy: operand(arrays, 'dy'), saved }, renamed(out, gradients));
    },
  };
}

/** The arrays for the gradients of operands under the names that the functional API has for them. */
function renamed<Name extends string>(out: Arrays, names: Readonly<Record<string, Name>>) {
  const needs: Name[] = [];
  const arrays: { [Key in Name]?: Float32Array } = {};
  for (const [name, array] of out) {
    const gradient = names[name];
    if (gradient === undefined) continue;
    needs.push(gradient);
    arrays[gradient] = array;
  }
  return { needs, out: arrays };
}
