/** The layers as ONNX operations on rows: x is [n, features]. */

import type { TensorData } from '../io';
import { transposed } from '../matrix';
import type { Activation, InnerActivation } from '../ops';
import type { OnnxGraph } from './onnx_graph';

/** The values of a linear layer of any structure, shaped as docs/checkpoint.md says; `v` is null for a dense one. */
export interface LinearValues {
  readonly v: TensorData | null;
  readonly u: TensorData;
  readonly bias: TensorData | null;
  /** Between the factors. Default: none. */
  readonly innerActivation?: InnerActivation;
}

/** [blocks, rows, columns] → [blocks, columns, rows]: MatMul itself does not transpose. */
function swapped({ shape, data }: TensorData): TensorData {
  const [blocks, rows, columns] = [shape[0]!, shape[1]!, shape[2]!];
  return { shape: [blocks, columns, rows], data: transposed(data, rows, columns) };
}

/** x wᵀ (+ bias). */
const dense = (graph: OnnxGraph, x: string, weight: string, bias: string | null): string =>
  graph.node('Gemm', bias === null ? [x, weight] : [x, weight, bias], { transB: 1 });

const reshape = (graph: OnnxGraph, x: string, shape: readonly number[]): string =>
  graph.node('Reshape', [x, graph.integers(shape)]);

/** Each block of features by its own matrix, out [n, blocks·rows] in the order of the blocks. */
function firstFactor(graph: OnnxGraph, name: string, x: string, v: TensorData): string {
  const [blocks, rows, columns] =
    v.shape.length === 2 ? [1, v.shape[0]!, v.shape[1]!] : [v.shape[0]!, v.shape[1]!, v.shape[2]!];
  if (blocks === 1) return dense(graph, x, graph.weight(name, { shape: [rows, columns], data: v.data }), null);
  const weight = graph.weight(`${name}.transposed`, swapped(v));
  const split = graph.node('Transpose', [reshape(graph, x, [-1, blocks, columns])], { perm: [1, 0, 2] });
  const product = graph.node('MatMul', [split, weight]);
  return reshape(graph, graph.node('Transpose', [product], { perm: [1, 0, 2] }), [-1, blocks * rows]);
}

/** The same with inputs and outputs shuffled: feature i of block l stands at i·blocks + l. */
function shuffledFactor(graph: OnnxGraph, name: string, h: string, u: TensorData): string {
  const [blocks, rows, columns] = [u.shape[0]!, u.shape[1]!, u.shape[2]!];
  const weight = graph.weight(`${name}.transposed`, swapped(u));
  const shuffled = graph.node('Transpose', [reshape(graph, h, [-1, columns, blocks])], { perm: [2, 0, 1] });
  const product = graph.node('MatMul', [shuffled, weight]);
  return reshape(graph, graph.node('Transpose', [product], { perm: [1, 2, 0] }), [-1, blocks * rows]);
}

/** A linear layer of any structure with its factors kept, or a dense one. */
export function addLinear(graph: OnnxGraph, name: string, x: string, layer: LinearValues): string {
  const { v, u, bias, innerActivation = 'none' } = layer;
  const shift = bias && graph.weight(`${name}.bias`, bias);
  if (v === null) return dense(graph, x, graph.weight(`${name}.weight`, u), shift);
  const h = addActivation(graph, firstFactor(graph, `${name}.v`, x, v), innerActivation);
  if (u.shape.length === 2) return dense(graph, h, graph.weight(`${name}.u`, u), shift);
  const y = shuffledFactor(graph, `${name}.u`, h, u);
  return shift === null ? y : graph.node('Add', [y, shift]);
}

const silu = (graph: OnnxGraph, x: string): string => graph.node('Mul', [x, graph.node('Sigmoid', [x])]);

/** `features` before the activation; only SwiGLU, which halves them, needs it. */
export function addActivation(graph: OnnxGraph, x: string, activation: Activation, features = 0): string {
  switch (activation) {
    case 'none':
      return x;
    case 'gelu':
      return graph.node('Gelu', [x], { approximate: 'tanh' });
    case 'silu':
      return silu(graph, x);
    case 'relu':
      return graph.node('Relu', [x]);
    case 'swiglu': {
      const [gate, up] = graph.split(x, [features / 2, features / 2], 1) as [string, string];
      return graph.node('Mul', [silu(graph, gate), up]);
    }
  }
}

export interface NormValues {
  readonly kind: 'layer' | 'rms';
  readonly weight: TensorData;
  readonly bias: TensorData | null;
  readonly eps: number;
}

/** Over the last dimension. */
export function addNorm(graph: OnnxGraph, name: string, x: string, { kind, weight, bias, eps }: NormValues): string {
  const gain = graph.weight(`${name}.weight`, weight);
  if (kind === 'layer') {
    const shift = bias === null ? [] : [graph.weight(`${name}.bias`, bias)];
    return graph.node('LayerNormalization', [x, gain, ...shift], { axis: -1, epsilon: { float: eps } });
  }
  const square = graph.node('ReduceMean', [graph.node('Mul', [x, x]), graph.integers([-1])], { keepdims: 1 });
  const root = graph.node('Sqrt', [graph.node('Add', [square, graph.float(eps)])]);
  return graph.node('Mul', [graph.node('Div', [x, root]), gain]);
}
