/** A problem as an ONNX model (opset 20), forward. */
import type { onnx } from 'onnx-proto';
import type { Problem } from '../harness/problem';
import type { LayerSize } from '../harness/variants';

/** The classes of onnx-proto, which is loaded where it is installed. */
export type Onnx = typeof onnx;

/** [blocks, rows, columns] → [blocks, columns, rows]: ONNX' MatMul transposes nothing by itself. */
function transposeBlocks(values: Float32Array, [blocks, rows, columns]: readonly [number, number, number]) {
  const result = new Float32Array(values.length);
  for (let b = 0; b < blocks; b++)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) result[(b * columns + j) * rows + i] = values[(b * rows + i) * columns + j]!;
  return result;
}

class GraphBuilder {
  readonly nodes: onnx.INodeProto[] = [];
  readonly initializers: onnx.ITensorProto[] = [];
  #count = 0;

  constructor(readonly onnx: Onnx) {}

  node(opType: string, input: string[], attribute: onnx.IAttributeProto[] = []): string {
    const output = `t${this.#count++}`;
    this.nodes.push({ opType, input, output: [output], attribute });
    return output;
  }

  constant(values: Float32Array, dims: readonly number[]): string {
    const name = `c${this.#count++}`;
    const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.initializers.push({ name, dims: [...dims], dataType: this.onnx.TensorProto.DataType.FLOAT, rawData });
    return name;
  }

  reshape(x: string, shape: readonly number[]): string {
    const name = `c${this.#count++}`;
    const rawData = new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);
    this.initializers.push({ name, dims: [shape.length], dataType: this.onnx.TensorProto.DataType.INT64, rawData });
    return this.node('Reshape', [x, name]);
  }

  transpose(x: string, perm: number[]): string {
    return this.node(
      'Transpose',
      [x],
      [{ name: 'perm', type: this.onnx.AttributeProto.AttributeType.INTS, ints: perm }],
    );
  }

  /** x wᵀ (+ bias), w [out, in]. */
  dense(x: string, w: string, bias: string | null): string {
    const transB = { name: 'transB', type: this.onnx.AttributeProto.AttributeType.INT, i: 1 };
    return this.node('Gemm', bias === null ? [x, w] : [x, w, bias], [transB]);
  }
}

function addLayer(graph: GraphBuilder, x: string, size: LayerSize, arrays: Problem['layers'][number]): string {
  const { v, u, outFeatures, dims } = size;
  const bias = arrays.bias && graph.constant(arrays.bias, [outFeatures]);
  if (v === null || arrays.v === null) return graph.dense(x, graph.constant(arrays.u, u), bias);
  const [blocks, rows, columns] = v.length === 3 ? [v[0]!, v[1]!, v[2]!] : [1, v[0]!, v[1]!];
  let h: string;
  if (blocks === 1) {
    h = graph.dense(x, graph.constant(arrays.v, v), null);
  } else {
    const factor = graph.constant(transposeBlocks(arrays.v, [blocks, rows, columns]), [blocks, columns, rows]);
    const split = graph.transpose(graph.reshape(x, [-1, blocks, columns]), [1, 0, 2]);
    h = graph.reshape(graph.transpose(graph.node('MatMul', [split, factor]), [1, 0, 2]), [-1, dims.hidden]);
  }
  if (u.length === 2) return graph.dense(h, graph.constant(arrays.u, u), bias);
  const [groups, out, taken] = [u[0]!, u[1]!, u[2]!];
  const factor = graph.constant(transposeBlocks(arrays.u, [groups, out, taken]), [groups, taken, out]);
  const shuffled = graph.transpose(graph.reshape(h, [-1, taken, groups]), [2, 0, 1]);
  const y = graph.reshape(graph.transpose(graph.node('MatMul', [shuffled, factor]), [1, 2, 0]), [-1, outFeatures]);
  return bias === null ? y : graph.node('Add', [y, bias]);
}

/** Serialized; input `x`, output named by the second value. */
export function onnxModel(modules: Onnx, { sizes, layers, tokens }: Problem): { bytes: Uint8Array; output: string } {
  const graph = new GraphBuilder(modules);
  let y = 'x';
  sizes.forEach((size, i) => {
    if (i > 0) {
      const tanh = { name: 'approximate', type: modules.AttributeProto.AttributeType.STRING, s: Buffer.from('tanh') };
      y = graph.node('Gelu', [y], [tanh]);
    }
    y = addLayer(graph, y, size, layers[i]!);
  });
  const value = (name: string, features: number): onnx.IValueInfoProto => ({
    name,
    type: {
      tensorType: {
        elemType: modules.TensorProto.DataType.FLOAT,
        shape: { dim: [{ dimValue: tokens }, { dimValue: features }] },
      },
    },
  });
  const model = modules.ModelProto.create({
    irVersion: 9,
    opsetImport: [{ domain: '', version: 20 }],
    graph: {
      name: 'problem',
      node: graph.nodes,
      initializer: graph.initializers,
      input: [value('x', sizes[0]!.inFeatures)],
      output: [value(y, sizes[sizes.length - 1]!.outFeatures)],
    },
  });
  return { bytes: modules.ModelProto.encode(model).finish(), output: y };
}
