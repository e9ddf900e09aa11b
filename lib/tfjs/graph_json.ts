/** The nodes of a graph model, as its JSON lists them. */

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

  /** Whether nothing but constants leads to a node. */
  isConstant(name: string, seen: Set<string> = new Set()): boolean {
    if (seen.has(name)) return true;
    seen.add(name);
    const node = this.#nodes.get(name);
    if (node === undefined) return false;
    if (node.op === 'Const') return true;
    const inputs = inputsOf(node);
    return inputs.length > 0 && inputs.every((input) => this.isConstant(input, seen));
  }

  /** Drops every node that no output needs: a node without consumers would become an output. */
  prune(kept: readonly string[]): void {
    const needed = new Set<string>();
    const waiting = [...this.#outputs, ...kept];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const node = this.#nodes.get(name);
      if (node === undefined || needed.has(name)) continue;
      needed.add(name);
      waiting.push(...inputsOf(node));
    }
    for (const name of this.#nodes.keys()) if (!needed.has(name)) this.#nodes.delete(name);
  }
}
