/** A TransformerLM as an ONNX graph. */

import type { TensorData } from '../io';
import { LayerNorm, type ResolvedConfig, type RMSNorm, type TransformerBlock, type TransformerLM } from '../nn';
import { OnnxGraph } from './onnx_graph';
import { addActivation, addLinear, addNorm, type NormValues } from './onnx_layers';
import { rotaryTable } from './rotary_table';
import { linearValues, valuesOf } from './values';

export interface OnnxGraphOptions {
  /** Whether structured layers keep their factors or become the dense matrices that these stand for. */
  readonly weights: 'factored' | 'merged';
  /** Whether keys and values of earlier tokens come in and go out, for decoding token by token. */
  readonly cache: boolean;
}

/** Added to the score of a later token; finite, because not every runtime's softmax takes −∞. */
const MASKED = -3.4028234663852886e38;

const normValues = (norm: LayerNorm | RMSNorm): NormValues => ({
  kind: norm instanceof LayerNorm ? 'layer' : 'rms',
  weight: valuesOf(norm.weight),
  bias: norm instanceof LayerNorm ? norm.bias && valuesOf(norm.bias) : null,
  eps: norm.eps,
});

interface Rotary {
  readonly cos: string;
  readonly sin: string;
}

/** Values that all blocks share. */
interface Positions {
  /** int64 [seq]. */
  readonly numbers: string;
  /** [batch, seq, query, key and value heads, headSize], the shape of a block's projection. */
  readonly projected: string;
  /** cos and sin [seq, 1, headSize/2] of the positions; null without rotary positions. */
  readonly rotary: Rotary | null;
  /** Added to the scores [group·seq, past + seq], where the query heads of a group stand one after the other. */
  readonly mask: string;
}

function addRotaryTable(graph: OnnxGraph, positions: string, { seqLen, headSize, ropeBase }: ResolvedConfig): Rotary {
  const { cos, sin } = rotaryTable(seqLen, headSize, ropeBase);
  // Gather, and not Slice: it refuses positions beyond the table.
  const rows = (name: string, values: TensorData) =>
    graph.node('Gather', [graph.weight(name, values), positions], { axis: 0 });
  return { cos: rows('rotary.cos', cos), sin: rows('rotary.sin', sin) };
}

function addPositions(graph: OnnxGraph, ids: string, firstPast: string | null, config: ResolvedConfig): Positions {
  const { nHeads, nKvHeads, headSize, ropeBase } = config;
  const group = nHeads / nKvHeads;
  const shape = graph.node('Shape', [ids]);
  const length = graph.node('Squeeze', [graph.node('Shape', [ids], { start: 1, end: 2 })]);
  const past =
    firstPast === null
      ? graph.integer(0)
      : graph.node('Squeeze', [graph.node('Shape', [firstPast], { start: 2, end: 3 })]);
  const total = graph.node('Add', [past, length]);
  const one = graph.integer(1);
  const numbers = graph.node('Range', [past, total, one]);
  const rows = graph.node('Unsqueeze', [numbers, graph.integers([1])]);
  const visible = graph.node('LessOrEqual', [graph.node('Range', [graph.integer(0), total, one]), rows]);
  const mask = graph.node('Where', [visible, graph.float(0), graph.float(MASKED)]);
  return {
    numbers,
    projected: graph.node('Concat', [shape, graph.integers([nHeads + 2 * nKvHeads, headSize])], { axis: 0 }),
    rotary: ropeBase > 0 ? addRotaryTable(graph, numbers, config) : null,
    mask: group === 1 ? mask : graph.node('Tile', [mask, graph.integers([group, 1])]),
  };
}

/** x [batch, seq, heads, headSize], halves turned. */
function addRotation(graph: OnnxGraph, x: string, { rotary }: Positions, headSize: number): string {
  if (rotary === null) return x;
  const { cos, sin } = rotary;
  const [a, b] = graph.split(x, [headSize / 2, headSize / 2], 3) as [string, string];
  const times = (left: string, right: string) => graph.node('Mul', [left, right]);
  const first = graph.node('Sub', [times(a, cos), times(b, sin)]);
  const second = graph.node('Add', [times(b, cos), times(a, sin)]);
  return graph.node('Concat', [first, second], { axis: 3 });
}

interface Cache {
  readonly key: string;
  readonly value: string;
}

/** Heads [batch, seq, nHeads + nKvHeads, headSize] with the norms of queries and keys, where there are any. */
function addHeadNorms(
  graph: OnnxGraph,
  name: string,
  heads: string,
  block: TransformerBlock,
  config: ResolvedConfig,
): string {
  const { qnorm, knorm } = block.attention;
  if (qnorm === null || knorm === null) return heads;
  const [q, k] = graph.split(heads, [config.nHeads, config.nKvHeads], 2) as [string, string];
  const normed = [
    addNorm(graph, `${name}.qnorm`, q, normValues(qnorm)),
    addNorm(graph, `${name}.knorm`, k, normValues(knorm)),
  ];
  return graph.node('Concat', normed, { axis: 2 });
}

/** Attention of x [n, dModel]; out [n, nHeads·headSize], and all keys and values [batch, nKvHeads, total, headSize]. */
function addAttention(
  graph: OnnxGraph,
  name: string,
  x: string,
  block: TransformerBlock,
  positions: Positions,
  past: Cache | null,
  config: ResolvedConfig,
): { y: string; present: Cache } {
  const { nHeads, nKvHeads, headSize } = config;
  const qkv = addLinear(graph, `${name}.qkv`, x, linearValues(block.attention.qkv, false));
  const grouped = nHeads !== nKvHeads;
  const heads = graph.node('Reshape', [qkv, positions.projected]);
  const [turning, v] = graph.split(heads, [nHeads + nKvHeads, nKvHeads], 2) as [string, string];
  const turned = addRotation(graph, addHeadNorms(graph, name, turning, block, config), positions, headSize);
  const [q, k] = graph.split(turned, [nHeads, nKvHeads], 2) as [string, string];
  const byHead = (x: string) => graph.node('Transpose', [x], { perm: [0, 2, 1, 3] });
  const after = (earlier: string | undefined, x: string) =>
    earlier === undefined ? byHead(x) : graph.node('Concat', [earlier, byHead(x)], { axis: 2 });
  const present = { key: after(past?.key, k), value: after(past?.value, v) };
  const scaled = graph.node('Mul', [byHead(q), graph.float(1 / Math.sqrt(headSize))]);
  // The query heads of one key head become rows of one product: nothing is repeated.
  const queries = grouped ? graph.node('Reshape', [scaled, graph.integers([0, nKvHeads, -1, headSize])]) : scaled;
  const scores = graph.node('MatMul', [queries, graph.node('Transpose', [present.key], { perm: [0, 1, 3, 2] })]);
  const weights = graph.node('Softmax', [graph.node('Add', [scores, positions.mask])], { axis: -1 });
  const mixed = graph.node('MatMul', [weights, present.value]);
  const apart = grouped ? graph.node('Reshape', [mixed, graph.integers([0, nHeads, -1, headSize])]) : mixed;
  const y = graph.node('Reshape', [byHead(apart), graph.integers([-1, nHeads * headSize])]);
  return { y, present };
}

/** Embeddings [n, dModel] of the tokens, plus those of their positions where these are learned. */
function addEmbedding(
  graph: OnnxGraph,
  table: string,
  ids: string,
  { numbers }: Positions,
  model: TransformerLM,
): string {
  const flat = (x: string, shape: readonly number[]) => graph.node('Reshape', [x, graph.integers(shape)]);
  if (model.positions === null) return graph.node('Gather', [table, flat(ids, [-1])], { axis: 0 });
  const learned = graph.weight('positions.weight', valuesOf(model.positions.weight));
  const tokens = graph.node('Gather', [table, ids], { axis: 0 });
  return flat(graph.node('Add', [tokens, graph.node('Gather', [learned, numbers], { axis: 0 })]), [
    -1,
    model.config.dModel,
  ]);
}

function addFeedForward(graph: OnnxGraph, name: string, x: string, block: TransformerBlock, merged: boolean) {
  const { fc1, fc2, activation } = block.ffn;
  const hidden = addLinear(graph, `${name}.fc1`, x, linearValues(fc1, merged));
  const active = addActivation(graph, hidden, activation, fc1.outFeatures);
  return addLinear(graph, `${name}.fc2`, active, linearValues(fc2, merged));
}

/**
 * Input `input_ids` [batch, sequence] int64, output `logits` [batch, sequence, vocabSize]; with a cache also inputs
 * `past_key_values.{i}.key` and `.value` [batch, nKvHeads, past, headSize] and outputs `present.{i}.key` and `.value`.
 * The graph refers to the memory of the model and of tensors made here: write it before the enclosing scope ends.
 */
export function transformerGraph(model: TransformerLM, options: OnnxGraphOptions): OnnxGraph {
  const merged = options.weights === 'merged';
  const { config } = model;
  const { vocabSize, nKvHeads, headSize } = config;
  const graph = new OnnxGraph('structured-ffn transformer');
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  const cacheShape = (length: string) => ['batch', nKvHeads, length, headSize];
  const pasts = model.blocks.map((_, i): Cache | null => {
    if (!options.cache) return null;
    const input = (part: string) => graph.input(`past_key_values.${i}.${part}`, 'float32', cacheShape('past'));
    return { key: input('key'), value: input('value') };
  });
  const positions = addPositions(graph, ids, pasts[0]?.key ?? null, config);
  const table = graph.weight('embedding.weight', valuesOf(model.embedding.weight));
  const presents: Cache[] = [];
  let x = addEmbedding(graph, table, ids, positions, model);
  model.blocks.forEach((block, i) => {
    const name = `blocks.${i}`;
    const attention = `${name}.attention`;
    const normed = addNorm(graph, `${name}.norm1`, x, normValues(block.norm1));
    const { y, present } = addAttention(graph, attention, normed, block, positions, pasts[i] ?? null, config);
    presents.push(present);
    x = graph.node('Add', [x, addLinear(graph, `${attention}.out`, y, linearValues(block.attention.out, merged))]);
    const again = addNorm(graph, `${name}.norm2`, x, normValues(block.norm2));
    x = graph.node('Add', [x, addFeedForward(graph, `${name}.ffn`, again, block, merged)]);
  });
  const hidden = addNorm(graph, 'norm', x, normValues(model.norm));
  const head = model.head ? graph.weight('head.weight', valuesOf(model.head.weight)) : table;
  const logits = graph.node('Gemm', [hidden, head], { transB: 1 });
  const shape = graph.node('Concat', [graph.node('Shape', [ids]), graph.integers([vocabSize])], { axis: 0 });
  graph.output('logits', graph.node('Reshape', [logits, shape]), ['batch', 'sequence', vocabSize]);
  if (options.cache)
    presents.forEach(({ key, value }, i) => {
      graph.output(`present.${i}.key`, key, cacheShape('past_and_sequence'));
      graph.output(`present.${i}.value`, value, cacheShape('past_and_sequence'));
    });
  return graph;
}
