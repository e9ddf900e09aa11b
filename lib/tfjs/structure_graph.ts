/** Rewrites the products of a GraphModel with constant matrices to our ops. */
import { checkNames, FormatError, OptionError } from '../errors';
import { transposed } from '../matrix';
import { nearestFactors } from '../nn';
import { checkKeys, isObject } from '../options';
import { checkStructure, chooseLayer, DEFINITIONS, type SizeOptions, type Structure } from '../structures';
import type { Shape } from '../tensor';
import { type ComputeDType, checkComputeDType } from './compute_dtype';
import { encode, functionNodesOf, Graph, type GraphNode, nodesOf, signatureOutputs } from './graph_json';
import { findProducts, type Product } from './graph_matmul';
import { OPERANDS } from './graph_ops';
import { floats } from './memory';
import { becomesSmaller, type LayerReport } from './structure_model';
import type { GraphModel, io, Tensor, Tfjs } from './tfjs';

/** Options of `structureGraph`. */
export interface GraphOptions extends Pick<SizeOptions, 'rank' | 'nblocks' | 'ratio'> {
  /** `dense` keeps the matrices and only makes the kernels native. */
  readonly structure: Structure;
  /**
   * Names of MatMul nodes, or which to take of those with a constant matrix [in, out]. Default: all of at least
   * 64 x 64 that become smaller.
   */
  readonly nodes?: readonly string[] | ((name: string, inFeatures: number, outFeatures: number) => boolean);
  /** What the kernels of the new nodes compute in. Default: float32. */
  readonly computeDtype?: ComputeDType;
}

/** A graph model with structured layers. */
export interface StructuredGraph {
  /** The new graph model. */
  readonly model: GraphModel;
  /** For `fileIO(folder).save` or `tf.io.fromMemory`. */
  readonly artifacts: io.ModelArtifacts;
  /** What became of each matrix product. */
  readonly report: readonly LayerReport[];
}

const SMALLEST = 64;

/** A constant of the graph: values and shape. */
interface Constant {
  readonly values: Float32Array;
  readonly shape: Shape;
}

interface Replacement {
  readonly constants: ReadonlyMap<'v' | 'u', Constant>;
  readonly report: Omit<LayerReport, 'layer'>;
}

/** What is taken unless the caller chooses. */
const isWorthwhile = (inFeatures: number, outFeatures: number, options: GraphOptions): boolean =>
  Math.min(inFeatures, outFeatures) >= SMALLEST &&
  (options.structure === 'dense' || becomesSmaller({ inFeatures, outFeatures }, options));

/** Factors for a matrix [out, in]. @throws {OptionError} for sizes that it does not allow. */
function replace(weight: Float32Array, inFeatures: number, outFeatures: number, options: GraphOptions): Replacement {
  const { structure, rank, nblocks, ratio } = options;
  const parametersBefore = weight.length;
  const shapes = chooseLayer('structureGraph', structure, { inFeatures, outFeatures, rank, nblocks, ratio });
  if (shapes.v === null)
    return {
      constants: new Map([['u', { values: weight, shape: shapes.u }]]),
      report: { error: 0, parametersBefore, parametersAfter: parametersBefore },
    };
  const { v, u, error } = nearestFactors(weight, shapes.v, shapes.u);
  return {
    constants: new Map([
      ['v', { values: v, shape: shapes.v }],
      ['u', { values: u, shape: shapes.u }],
    ]),
    report: { error, parametersBefore, parametersAfter: v.length + u.length },
  };
}

const FLOAT = { type: 'DT_FLOAT' };

const constantNode = (name: string, shape: Shape): GraphNode => ({
  name,
  op: 'Const',
  input: [],
  attr: {
    dtype: FLOAT,
    value: { tensor: { dtype: 'DT_FLOAT', tensorShape: { dim: shape.map((size) => ({ size: String(size) })) } } },
  },
});

/** Puts our node where the product was. */
function rewrite(
  graph: Graph,
  product: Product,
  { structure, computeDtype }: GraphOptions,
  constants: readonly [string, string][],
): void {
  const { last, x, bias, activation, after } = product;
  const operands = [...constants, ...(bias === null ? [] : [['bias', bias] as const])];
  const name = after === null ? last : `${last}/linear`;
  graph.set({
    name,
    op: DEFINITIONS[structure].kernel,
    input: [x, ...operands.map(([, node]) => node)],
    attr: {
      [OPERANDS]: encode(operands.map(([operand]) => operand).join(',')),
      activation: encode(activation),
      ...(computeDtype && { computeDtype: encode(computeDtype) }),
      T: FLOAT,
    },
  });
  if (after !== null) graph.set({ name: last, op: after.op, input: [name, ...after.inputs], attr: after.attr });
}

/** Which products to replace. @throws {OptionError} for a name that is none of theirs. */
function choose(products: readonly Product[], { nodes }: GraphOptions): readonly Product[] {
  if (!Array.isArray(nodes)) return products;
  return nodes.map((name) => {
    const product = products.find((one) => one.name === name);
    if (product) return product;
    throw new OptionError('structureGraph: nodes', 'names of MatMul nodes with a constant matrix', name);
  });
}

/**
 * A model of the nodes that lead to the matrices, without inputs. The whole one cannot be asked: one with lookup tables
 * executes asynchronously only, once its tables are filled.
 */
function loadMatrices(
  tf: Tfjs,
  { modelTopology, weightData, weightSpecs }: io.ModelArtifacts,
  graph: Graph,
  products: readonly Product[],
): Promise<GraphModel> {
  const node = graph.leadingTo(products.map(({ weight }) => weight));
  return tf.loadGraphModel({
    load: async () => ({ modelTopology: { ...modelTopology, node }, weightData, weightSpecs }),
  });
}

/** The matrix of a node that only constants lead to; null when it is not of float32. */
function evaluate(tf: Tfjs, model: GraphModel, name: string): Constant | null {
  // A weight itself is not ours to dispose, so this is another tensor on the same memory.
  const [value, ...others] = tf.tidy(() => [model.execute({}, name)].flat().map((one) => tf.clone(one)));
  if (value === undefined || others.length > 0) throw new FormatError(name, 'not a node of one value');
  const matrix = value.dtype === 'float32' ? { values: floats(value.dataSync()).slice(), shape: value.shape } : null;
  value.dispose();
  return matrix;
}

/** Decoded weights, without those of `dropped` nodes and with the new ones, encoded again. */
async function encodeWeights(
  tf: Tfjs,
  artifacts: io.ModelArtifacts,
  dropped: ReadonlySet<string>,
  added: ReadonlyMap<string, Constant>,
) {
  const { weightData = new ArrayBuffer(0), weightSpecs = [], modelTopology, modelInitializer } = artifacts;
  const all = tf.io.decodeWeights(weightData, weightSpecs);
  // The graph that fills the lookup tables and the functions have constants of their own among the weights.
  const others = new Set([...nodesOf(modelInitializer), ...functionNodesOf(modelTopology)].map(({ name }) => name));
  const kept = Object.entries(all).filter(([name]) => !dropped.has(name) || others.has(name));
  const fresh = [...added].map(([name, { values, shape }]): [string, Tensor] => [name, tf.tensor(values, [...shape])]);
  const encoded = await tf.io.encodeWeights(Object.fromEntries([...kept, ...fresh]));
  tf.dispose([all, fresh.map(([, tensor]) => tensor)]);
  return { weightData: encoded.data, weightSpecs: encoded.specs };
}

/**
 * Reads a graph model from `source` and replaces products of it by layers of the wanted structure that start as the best
 * approximation of their matrices, bias and ReLU included.
 * @throws {FormatError} when it is no graph model. @throws {OptionError} for unknown nodes or sizes that do not fit.
 */
export async function structureGraph(tf: Tfjs, source: io.IOHandler, options: GraphOptions): Promise<StructuredGraph> {
  checkKeys('structureGraph', options, { structure: 0, rank: 0, nblocks: 0, ratio: 0, nodes: 0, computeDtype: 0 });
  checkStructure('structureGraph: structure', options.structure);
  const { nodes: wanted } = options;
  if (wanted !== undefined && typeof wanted !== 'function') checkNames('structureGraph: nodes', wanted);
  if (!isObject(source) || typeof source.load !== 'function')
    throw new OptionError('structureGraph: source', 'a handler that loads', source);
  if (options.computeDtype !== undefined) checkComputeDType('structureGraph: computeDtype', options.computeDtype);
  const artifacts = await source.load();
  const nodes = nodesOf(artifacts.modelTopology);
  if (nodes.length === 0) throw new FormatError('model', 'no graph model');
  const graph = new Graph(nodes);
  const products = choose(findProducts(graph), options);
  const matrices = await loadMatrices(tf, artifacts, graph, products);
  const constants = new Map<string, Constant>();
  const report: LayerReport[] = [];
  for (const product of products) {
    const found = evaluate(tf, matrices, product.weight);
    if (found === null) {
      if (!Array.isArray(options.nodes)) continue;
      throw new OptionError('structureGraph: nodes', 'products with float32 matrices', product.name);
    }
    const { values: matrix, shape } = found;
    const [rows = 0, columns = 0] = shape;
    const [inFeatures, outFeatures] = product.transposed ? [columns, rows] : [rows, columns];
    if (typeof options.nodes === 'function' && !options.nodes(product.name, inFeatures, outFeatures)) continue;
    if (options.nodes === undefined && !isWorthwhile(inFeatures, outFeatures, options)) continue;
    const weight = product.transposed ? matrix : transposed(matrix, rows, columns);
    const replacement = replace(weight, inFeatures, outFeatures, options);
    const names = [...replacement.constants].map(([operand, constant]): [string, string] => {
      const name = `${product.name}/${operand}`;
      constants.set(name, constant);
      graph.set(constantNode(name, constant.shape));
      return [operand, name];
    });
    rewrite(graph, product, options, names);
    report.push({ layer: product.name, ...replacement.report });
  }
  matrices.dispose();
  const dropped = graph.prune(signatureOutputs(artifacts.signature));
  const structured: io.ModelArtifacts = {
    ...artifacts,
    modelTopology: { ...artifacts.modelTopology, node: graph.nodes },
    ...(await encodeWeights(tf, artifacts, dropped, constants)),
  };
  return { model: await tf.loadGraphModel({ load: async () => structured }), artifacts: structured, report };
}
