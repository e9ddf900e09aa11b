/** A problem as an ONNX model, forward. */
import { OnnxGraph } from '../../lib/export/onnx_graph';
import { addActivation, addLinear } from '../../lib/export/onnx_layers';
import type { Problem } from '../harness/problem';

/** Serialized; input `x`, output `y`. */
export function onnxModel({ sizes, layers, tokens }: Problem): Uint8Array {
  const graph = new OnnxGraph('problem');
  let y = graph.input('x', 'float32', [tokens, sizes[0]!.inFeatures]);
  sizes.forEach(({ v, u, outFeatures }, i) => {
    const arrays = layers[i]!;
    if (i > 0) y = addActivation(graph, y, 'gelu', sizes[i]!.inFeatures);
    y = addLinear(graph, `layers.${i}`, y, {
      v: v && arrays.v && { shape: v, data: arrays.v },
      u: { shape: u, data: arrays.u },
      bias: arrays.bias && { shape: [outFeatures], data: arrays.bias },
    });
  });
  graph.output('y', y, [tokens, sizes[sizes.length - 1]!.outFeatures]);
  return Buffer.concat(graph.files().model);
}
