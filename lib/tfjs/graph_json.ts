/** The nodes of a graph model, as its JSON lists them. */
import { isObject } from '../options';

export interface GraphNode {
  name: string;
  op: string;
  input?: string[];
  attr?: { [name: string]: GraphAttribute };
}

/** A value under the name of its kind; strings are in base64. */
export interface GraphAttribute {
  readonly b?: boolean;
  readonly s?: string;
  readonly f?: number;
  readonly type?: string | number;
  readonly list?: { readonly s?: readonly string[] };
  readonly [kind: string]: unknown;
}

const isNode = (value: unknown): value is GraphNode =>
  value !== null && typeof value === 'object' && 'name' in value && 'op' in value;

/** Copies of the nodes of a topology; none when it is no graph's. */
export function nodesOf(topology: unknown): GraphNode[] {
  if (topology === null || typeof topology !== 'object' || !('node' in topology) || !Array.isArray(topology.node))
    return [];
  return topology.node.filter(isNode).map((node) => ({ ...node, input: [...(node.input ?? [])] }));
}

/** Nodes of the functions that a topology defines. */
export function functionNodesOf(topology: unknown): GraphNode[] {
  if (!isObject(topology) || !isObject(topology.library) || !Array.isArray(topology.library.function)) return [];
  return topology.library.function.flatMap((one: unknown) => (isObject(one) ? nodesOf({ node: one.nodeDef }) : []));
}

/** The node that an input names: without its output's number, or the mark of a control input. */
export const sourceOf = (input: string): string => input.replace(/^\^/, '').replace(/:\d+$/, '');

export const inputsOf = ({ input = [] }: GraphNode): string[] => input.map(sourceOf);

/** Names of the nodes that a model's signature calls its outputs. */
export function signatureOutputs(signature: unknown): string[] {
  if (signature === null || typeof signature !== 'object' || !('outputs' in signature)) return [];
  return Object.values(signature.outputs ?? {}).flatMap((output: unknown): string[] =>
    output !== null && typeof output === 'object' && 'name' in output ? [sourceOf(String(output.name))] : [],
  );
}

export const encode = (text: string): GraphAttribute => ({ s: Buffer.from(text).toString('base64') });
export const decode = (text: string): string => Buffer.from(text, 'base64').toString();

/** Ops that draw numbers. */
const DRAWS = /Random|Multinomial|TruncatedNormal/;

/** A graph that is being rewritten. */
export class Graph {
  readonly #nodes: Map<string, GraphNode>;
  /** Nodes that nothing used at the start: what the graph computes. */
  readonly #outputs: readonly string[];

  constructor(nodes: readonly GraphNode[]) {
    this.#nodes = new Map(nodes.map((node) => [node.name, node]));
    const used = new Set(nodes.flatMap(inputsOf));
    this.#outputs = nodes.filter(({ name }) => !used.has(name)).map(({ name }) => name);
  }

  get nodes(): GraphNode[] {
    return [...this.#nodes.values()];
  }

  get(name: string): GraphNode | undefined {
    return this.#nodes.get(name);
  }

  consumersOf(name: string): GraphNode[] {
    return this.nodes.filter((node) => inputsOf(node).includes(name));
  }

  /** Replaces or adds. */
  set(node: GraphNode): void {
    this.#nodes.set(node.name, node);
  }

  /** Whether nothing but constants leads to a node, and what it computes of them is the same each time. */
  isConstant(name: string, seen: Set<string> = new Set()): boolean {
    if (seen.has(name)) return true;
    seen.add(name);
    const node = this.#nodes.get(name);
    if (node === undefined) return false;
    if (node.op === 'Const') return true;
    if (DRAWS.test(node.op)) return false;
    const inputs = inputsOf(node);
    return inputs.length > 0 && inputs.every((input) => this.isConstant(input, seen));
  }

  /** The named nodes and all that lead to them. */
  leadingTo(names: readonly string[]): GraphNode[] {
    const found = new Map<string, GraphNode>();
    const waiting = [...names];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const node = this.#nodes.get(name);
      if (node === undefined || found.has(name)) continue;
      found.set(name, node);
      waiting.push(...inputsOf(node));
    }
    return [...found.values()];
  }

  /** Drops every node that no output needs, and returns their names: a node without consumers would become an output. */
  prune(kept: readonly string[]): Set<string> {
    const needed = new Set(this.leadingTo([...this.#outputs, ...kept]).map(({ name }) => name));
    const dropped = new Set([...this.#nodes.keys()].filter((name) => !needed.has(name)));
    for (const name of dropped) this.#nodes.delete(name);
    return dropped;
  }
}
