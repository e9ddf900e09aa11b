/** What a kernel call computes, prepared from the shapes of its operands: one layer, or a feedforward network of two. */
import type { Operand } from '../../types/native';
import { checkNumber, formatShape, runNative, ShapeError } from '../errors';
import { type ResolvedLinear, resolveFeedForward, resolveLinear } from '../functional/spec';
import { kernels } from '../kernels';
import { native } from '../native';
import type { Activation } from '../ops/activation';
import { numel, type Shape } from '../tensor';
import type { KernelAttributes } from './attributes';
import { type LayerOperands, layerOperands, type Named, operand } from './operands';

type Arrays = Named<Operand>;

export interface Problem {
  readonly yShape: Shape;
  /** What the gradient needs beside the operands, by name, in the order of the forward kernel's outputs. */
  readonly saved: Named<Shape>;
  /** Writes `y` and, where they are in `out`, the saved ones. */
  forward(arrays: Arrays, out: Arrays): void;
  /** `arrays` holds dy and the saved ones, too; `out` gets the gradient of each operand named in it. */
  backward(arrays: Arrays, out: Arrays): void;
}

/** The arrays that a kernel takes by these names; null for one that is not there. */
const pick = <Name extends string>(arrays: Arrays, ...names: Name[]) =>
  Object.fromEntries(names.map((name) => [name, arrays.get(name) ?? null])) as Record<Name, Operand>;

/** The same for the gradients of operands. */
const pickGradients = <Name extends string>(arrays: Arrays, ...names: Name[]) =>
  Object.fromEntries(names.map((name) => [`d${name}`, arrays.get(name) ?? null])) as {
    [Gradient in `d${Name}`]: Operand;
  };

/** Leading dimensions of x [..., features]. @throws {ShapeError} */
function leading(where: string, x: Shape, features: number): Shape {
  if (x.length < 1 || x[x.length - 1] !== features)
    throw new ShapeError(`${where}: x`, `[..., ${features}]`, formatShape(x));
  return x.slice(0, -1);
}

/** The weight of the guide, 0 without one. @throws {ShapeError | OptionError} unless bias, guide and alpha fit the layer. */
function checkRest(where: string, { shapes }: ResolvedLinear, operands: LayerOperands<Shape>, alpha: number): number {
  for (const name of ['bias', 'guide'] as const) {
    const shape = operands[name];
    if (shape !== null && formatShape(shape) !== formatShape(shapes[name]))
      throw new ShapeError(`${where}: ${name}`, formatShape(shapes[name]), formatShape(shape));
  }
  if (operands.guide === null) return 0;
  checkNumber(`${where}: alpha`, alpha, 0, 1);
  return alpha;
}

/** Shapes of what is kept, without what does not exist. */
const present = (n: number, features: Readonly<Record<string, number>>): Named<Shape> =>
  new Map(Object.entries(features).flatMap(([name, size]): [string, Shape][] => (size > 0 ? [[name, [n, size]]] : [])));

const preFeatures = ({ dims }: ResolvedLinear, activation: Activation): number =>
  activation === 'none' ? 0 : dims.outFeatures;

/** act(alpha · x Wᵀ + (1 − alpha) · S(x) + bias). @throws {ShapeError | OptionError} */
export function linearProblem(where: string, shapes: Named<Shape>, { activation, layers }: KernelAttributes): Problem {
  const operands = layerOperands(shapes);
  const { innerActivation } = layers[0];
  const layer = resolveLinear(where, { ...operands, activation, innerActivation });
  const alpha = checkRest(where, layer, operands, layers[0].alpha);
  const { dims, features } = layer;
  const lead = leading(where, operand(shapes, 'x'), dims.inFeatures);
  const n = numel(lead);
  const numbers = {
    n,
    dims: dims.sizes,
    factor_scale: 1 - alpha,
    guide_scale: alpha,
    activation: native.activations[activation],
    residual: null,
  };
  return {
    yShape: [...lead, features],
    saved: present(n, { h: dims.hidden, pre: preFeatures(layer, activation) }),
    forward: (arrays, out) =>
      runNative(() =>
        kernels.linear_forward(
          Object.assign(pick(arrays, 'x', 'v', 'u', 'guide', 'bias'), pick(out, 'h', 'pre', 'y'), numbers),
        ),
      ),
    backward: (arrays, out) =>
      runNative(() =>
        kernels.linear_backward(
          Object.assign(
            pick(arrays, 'dy', 'x', 'v', 'u', 'guide', 'h', 'pre'),
            pickGradients(out, 'x', 'v', 'u', 'guide', 'bias'),
            numbers,
          ),
        ),
      ),
  };
}

/** fc2(act(fc1(x))). @throws {ShapeError | OptionError} */
export function ffnProblem(where: string, shapes: Named<Shape>, { activation, layers }: KernelAttributes): Problem {
  const [first, second] = [layerOperands(shapes, '1'), layerOperands(shapes, '2')];
  const { fc1, fc2 } = resolveFeedForward(where, {
    fc1: { ...first, innerActivation: layers[0].innerActivation },
    fc2: { ...second, innerActivation: layers[1].innerActivation },
    activation,
  });
  const alpha1 = checkRest(`${where}: fc1`, fc1, first, layers[0].alpha);
  const alpha2 = checkRest(`${where}: fc2`, fc2, second, layers[1].alpha);
  const lead = leading(where, operand(shapes, 'x'), fc1.dims.inFeatures);
  const n = numel(lead);
  const numbers = {
    n,
    dims1: fc1.dims.sizes,
    dims2: fc2.dims.sizes,
    factor_scale1: 1 - alpha1,
    guide_scale1: alpha1,
    factor_scale2: 1 - alpha2,
    guide_scale2: alpha2,
    activation: native.activations[activation],
    residual: null,
  };
  return {
    yShape: [...lead, fc2.dims.outFeatures],
    saved: present(n, { h1: fc1.dims.hidden, pre: fc1.dims.outFeatures, h2: fc2.dims.hidden }),
    forward: (arrays, out) =>
      runNative(() =>
        kernels.ffn_forward(
          Object.assign(
            pick(arrays, 'x', 'v1', 'u1', 'guide1', 'bias1', 'v2', 'u2', 'guide2', 'bias2'),
            pick(out, 'h1', 'pre', 'h2', 'y'),
            numbers,
          ),
        ),
      ),
    backward: (arrays, out) =>
      runNative(() =>
        kernels.ffn_backward(
          Object.assign(
            pick(arrays, 'dy', 'x', 'v1', 'u1', 'guide1', 'v2', 'u2', 'guide2', 'h1', 'pre', 'h2'),
            pickGradients(out, 'x', 'v1', 'u1', 'guide1', 'bias1', 'v2', 'u2', 'guide2', 'bias2'),
            numbers,
          ),
        ),
      ),
  };
}
