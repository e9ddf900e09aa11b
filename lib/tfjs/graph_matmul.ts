/** Finds the products of a graph model with constant matrices, with the bias and activation that follow. */
import type { Activation } from '../ops/activation';
import { decode, type Graph, type GraphNode, inputsOf } from './graph_json';

/** A product that one node of ours can replace. */
export interface Product {
  /** Name of the MatMul node: what callers choose by. */
  readonly name: string;
  /** The node whose value the replacement takes over, and which it replaces under its name. */
  readonly last: string;
  readonly x: string;
  /** The node of the matrix: [in, out], or [out, in] when transposed. */
  readonly weight: string;
  readonly transposed: boolean;
  readonly bias: string | null;
  readonly activation: Activation;
  /** An activation fused into the original that our kernels do not have, with its own inputs. */
  readonly after: { readonly op: string; readonly inputs: readonly string[]; readonly attr: GraphNode['attr'] } | null;
}

const only = (graph: Graph, name: string): GraphNode | null => {
  const consumers = graph.consumersOf(name);
  return consumers.length === 1 ? consumers[0]! : null;
};

/** The node of a bias that is added to `name` and nothing else done with it. */
function biasAfter(graph: Graph, name: string): { last: string; bias: string } | null {
  const node = only(graph, name);
  if (node?.op !== 'BiasAdd') return null;
  const [x, bias] = inputsOf(node);
  return x === name && bias !== undefined ? { last: node.name, bias } : null;
}

function reluAfter(graph: Graph, name: string): string | null {
  const node = only(graph, name);
  return node?.op === 'Relu' ? node.name : null;
}

function plain(graph: Graph, node: GraphNode): Product {
  const [x, weight] = inputsOf(node);
  const added = biasAfter(graph, node.name);
  const linear = added?.last ?? node.name;
  const relu = reluAfter(graph, linear);
  return {
    name: node.name,
    last: relu ?? linear,
    x: x!,
    weight: weight!,
    transposed: node.attr?.transpose_b?.b === true,
    bias: added?.bias ?? null,
    activation: relu === null ? 'none' : 'relu',
    after: null,
  };
}

/** The converter's _FusedMatMul carries bias and activation as attributes. */
function fused(node: GraphNode): Product {
  const [x, weight, ...args] = node.input ?? [];
  const ops = (node.attr?.fused_ops?.list?.s ?? []).map(decode);
  const hasBias = ops[0] === 'BiasAdd';
  const bias = hasBias ? args.shift() : undefined;
  const op = ops[hasBias ? 1 : 0];
  const { T, leakyrelu_alpha: alpha } = node.attr ?? {};
  const attr = { ...(T && { T }), ...(alpha && { alpha }) };
  return {
    name: node.name,
    last: node.name,
    x: x!,
    weight: weight!,
    transposed: node.attr?.transpose_b?.b === true,
    bias: bias ?? null,
    activation: op === 'Relu' ? 'relu' : 'none',
    after: op === undefined || op === 'Relu' ? null : { op, inputs: args, attr },
  };
}

/** All products x·W with a constant W and x as it is. */
export function findProducts(graph: Graph): Product[] {
  return graph.nodes.flatMap((node) => {
    if (node.op !== 'MatMul' && node.op !== '_FusedMatMul') return [];
    const [x, weight] = inputsOf(node);
    if (x === undefined || weight === undefined || node.attr?.transpose_a?.b === true) return [];
    if (!graph.isConstant(weight) || graph.isConstant(x)) return [];
    return [node.op === 'MatMul' ? plain(graph, node) : fused(node)];
  });
}
