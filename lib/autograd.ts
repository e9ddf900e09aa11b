/** The tape. An op leaves a closure that turns the gradient of its result into those of its inputs; this file runs them. */
import { checkFunction, DisposedError, formatShape, fromNative, GradientError, ShapeError } from './errors';
import { kernels } from './kernels';
import { checkSameKind, checkTensor } from './ops/check';
import { checkKeys } from './options';
import { keep } from './scope';
import { empty, type Tensor } from './tensor';

/** Gradients for the inputs, in order; null where none was asked for. The engine owns what it is given. */
export type BackwardFunction = (dy: Tensor) => readonly (Tensor | null)[];

/** How a tensor was computed: its inputs, and the function that hands its gradient on to them. */
export interface GraphNode {
  /** What it was computed from. */
  readonly inputs: readonly Tensor[];
  /** Gradient of the result → gradients of the inputs; null once it has run. */
  backward: BackwardFunction | null;
  /** Tensors whose values backward reads, and what version they were of. */
  saved: readonly (readonly [tensor: Tensor, version: number])[];
}

/** In the place of the node of a tensor that was disposed: backward cannot pass it. */
export const DISPOSED_NODE: GraphNode = Object.freeze({ inputs: [], backward: null, saved: [] });

/** Options of `Tensor.backward`. */
export interface BackwardOptions {
  /**
   * Disposes each intermediate tensor of the graph as soon as backward has passed it (leaves and the tensor itself
   * stay). A training step then needs no more memory than its largest moment. Default: false.
   */
  releaseGraph?: boolean;
}

let recording = true;

/** Runs `body` without recording: evaluation, generation, updates of parameters. */
export function noGrad<T>(body: () => T): T {
  checkFunction('noGrad: body', body);
  const before = recording;
  recording = false;
  try {
    return body();
  } finally {
    recording = before;
  }
}

/** Whether an op on these inputs must keep what its backward needs. */
export function needsGrad(...inputs: readonly (Tensor | null | undefined)[]): boolean {
  return anyNeedsGrad(inputs);
}

/** The same of a list of any length: as arguments of a call, a long one would overflow the stack. */
const anyNeedsGrad = (inputs: readonly (Tensor | null | undefined)[]): boolean =>
  recording && inputs.some((input) => input?.requiresGrad);

/**
 * Attaches `backward` to an op's result. Without a recording in progress, or an input that wants one, nothing is kept.
 * @param saved the tensors, but for those that the op made for itself alone, whose values backward reads.
 */
export function record(
  y: Tensor,
  inputs: readonly Tensor[],
  backwardFunction: BackwardFunction,
  saved: readonly (Tensor | null)[] = [],
): Tensor {
  if (anyNeedsGrad(inputs)) {
    y.requiresGrad = true;
    const versions = saved.filter((t) => t !== null).map((t) => [t, t.storage.version] as const);
    y.node = { inputs, backward: backwardFunction, saved: versions };
  }
  return y;
}

/** Tensors below `root`, each after everything that uses it. */
function reverseTopological(root: Tensor): Tensor[] {
  const order: Tensor[] = [];
  const seen = new Set<Tensor>([root]);
  const stack: { tensor: Tensor; next: number }[] = [{ tensor: root, next: 0 }];
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    const input = top.tensor.node?.inputs[top.next++];
    if (input === undefined) {
      order.push(top.tensor);
      stack.pop();
    } else if (input.requiresGrad && !seen.has(input)) {
      seen.add(input);
      stack.push({ tensor: input, next: 0 });
    }
  }
  return order.reverse();
}

/** acc + gradient, in acc's own memory unless somebody else sees it too. */
function accumulate(acc: Tensor, gradient: Tensor): Tensor {
  let sum = acc;
  if (acc.storage.shared) {
    sum = empty(acc.shape, acc.dtype, acc.device);
    kernels.copy({ x: acc, y: sum });
    acc.dispose();
  }
  kernels.add_scaled({ x: gradient, acc: sum, scale: 1 });
  gradient.dispose();
  return sum;
}

function seed(root: Tensor, gradient: Tensor | null): Tensor {
  if (gradient === null) {
    if (root.size !== 1)
      throw new GradientError(
        `backward: a tensor of shape ${formatShape(root.shape)} needs the gradient of its own shape`,
      );
    const one = empty(root.shape, root.dtype, root.device);
    kernels.fill({ y: one, value: 1 });
    return one;
  }
  checkTensor('backward: gradient', gradient, 'any');
  if (gradient.shape.length !== root.shape.length || gradient.shape.some((size, i) => size !== root.shape[i]))
    throw new ShapeError('backward', `a gradient of shape ${formatShape(root.shape)}`, formatShape(gradient.shape));
  checkSameKind('backward: gradient', root, gradient);
  return gradient.view();
}

/** See Tensor.backward. */
export function backward(root: Tensor, gradient: Tensor | null, options: BackwardOptions = {}): void {
  checkKeys('backward', options, { releaseGraph: 0 });
  if (root.disposed) throw new DisposedError('backward', 'the tensor was disposed');
  if (!root.requiresGrad)
    throw new GradientError('backward: the tensor does not depend on anything that requires a gradient');
  try {
    noGrad(() => run(root, seed(root, gradient), options.releaseGraph ?? false));
  } catch (error) {
    throw fromNative(error);
  }
}

function run(root: Tensor, rootGradient: Tensor, releaseGraph: boolean): void {
  const gradients = new Map<Tensor, Tensor>([[root, rootGradient]]);
  const order = reverseTopological(root);
  // Before anything is added to any gradient.
  for (const { node } of order) if (node !== null) checkNode(node);
  for (const tensor of order) {
    const dy = gradients.get(tensor);
    if (dy === undefined) continue;
    gradients.delete(tensor);
    if (tensor.node === null) leaveOnLeaf(tensor, dy);
    else passThrough(tensor.node, dy, gradients);
    if (tensor.node === null) continue;
    dy.dispose();
    if (releaseGraph && tensor !== root) tensor.dispose();
  }
}

/** @throws {GradientError} unless backward can still pass, and passes the values that forward saw. */
function checkNode(node: GraphNode): void {
  if (node === DISPOSED_NODE)
    throw new GradientError('backward: a tensor of the graph was disposed; keep the results of forward until backward');
  if (node.backward === null)
    throw new GradientError('backward: the graph was already used; run the forward computation again');
  for (const [{ shape, storage, disposed }, version] of node.saved) {
    if (disposed)
      throw new DisposedError('backward', `a tensor of shape ${formatShape(shape)} that it needs was disposed`);
    if (storage.version !== version)
      throw new GradientError(
        `backward: a tensor of shape ${formatShape(shape)} that it needs was written to after it was used; ` +
          'run the forward computation again',
      );
  }
}

/** Runs one op's backward and hands the results to its inputs. */
function passThrough(node: GraphNode, dy: Tensor, gradients: Map<Tensor, Tensor>): void {
  checkNode(node); // an op before this one may have written over its input
  const results = node.backward!(dy);
  // Frees what the closure saved.
  node.backward = null;
  node.saved = [];
  const used = new Set<Tensor>([dy]);
  node.inputs.forEach((input, i) => {
    const result = results[i];
    if (!result || !input.requiresGrad) return;
    // The same tensor may serve several inputs, or be dy itself: each use gets a view of its own.
    const gradient = used.has(result) ? result.view() : result;
    used.add(result);
    const before = gradients.get(input);
    gradients.set(input, before === undefined ? gradient : accumulate(before, gradient));
  });
}

function leaveOnLeaf(leaf: Tensor, gradient: Tensor): void {
  leaf.grad = keep(leaf.grad === null || leaf.grad.disposed ? gradient : accumulate(leaf.grad, gradient));
}
