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

/** Added to the score of a token that is not seen; finite, because not every runtime's softmax takes −∞. */
const MASKED = -3.4028234663852886e38;

/** The element type bool, as the attribute of Cast. */
const BOOL = 9;

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
  /** int64 [batch, seq]; null in a model without positions. */
  readonly numbers: string | null;
  /** [batch, seq, query, key and value heads, headSize], the shape of a block's projection. */
  readonly projected: string;
  /** cos and sin [batch, seq, 1, headSize/2] of the positions; null without rotary positions. */
  readonly rotary: Rotary | null;
  /** [batch, 1, group·seq, past + seq], added to the scores: the query heads of a group stand one after the other. */
  readonly mask: string;
}

function addRotaryTable(graph: OnnxGraph, positions: string, { seqLen, headSize, ropeBase }: ResolvedConfig): Rotary {
  const { cos, sin } = rotaryTable(seqLen, headSize, ropeBase);
  // Gather and not Slice, because Gather refuses positions beyond the table.
  const rows = (name: string, values: TensorData) =>
    graph.node('Gather', [graph.weight(name, values), positions], { axis: 0 });
  return { cos: rows('rotary.cos', cos), sin: rows('rotary.sin', sin) };
}

/** 0 for the tokens that each token sees: those up to itself that `attention_mask` [batch, past + seq] has not 0 for. */
function addMask(graph: OnnxGraph, batch: string, length: string, past: string, group: number): string {
  const given = graph.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length']);
  const [zero, one] = [graph.integer(0), graph.integer(1)];
  const total = graph.node('Add', [past, length]);
  const rows = graph.node('Unsqueeze', [graph.node('Range', [past, total, one]), graph.integers([1])]);
  const earlier = graph.node('LessOrEqual', [graph.node('Range', [zero, total, one]), rows]);
  // Reshape, which would not spread a mask of another length over all tokens.
  const totals = graph.node('Unsqueeze', [total, graph.integers([0])]);
  const shape = graph.node('Concat', [batch, graph.integers([1]), totals], { axis: 0 });
  const present = graph.node('Cast', [graph.node('Reshape', [given, shape], { allowzero: 1 })], { to: BOOL });
  const visible = graph.node('Unsqueeze', [graph.node('And', [present, earlier]), graph.integers([1])]);
  const mask = graph.node('Where', [visible, graph.float(0), graph.float(MASKED)]);
  return group === 1 ? mask : graph.node('Tile', [mask, graph.integers([1, 1, group, 1])]);
}

function addPositions(graph: OnnxGraph, ids: string, firstPast: string | null, config: ResolvedConfig): Positions {
  const { nHeads, nKvHeads, headSize, ropeBase, learnedPositions } = config;
  const shape = graph.node('Shape', [ids]);
  const batch = graph.node('Shape', [ids], { end: 1 });
  const length = graph.node('Squeeze', [graph.node('Shape', [ids], { start: 1, end: 2 })]);
  const past =
    firstPast === null
      ? graph.integer(0)
      : graph.node('Squeeze', [graph.node('Shape', [firstPast], { start: 2, end: 3 })]);
  const mask = addMask(graph, batch, length, past, nHeads / nKvHeads);
  const positioned = ropeBase > 0 || learnedPositions;
  const given = positioned ? graph.input('position_ids', 'int64', ['batch_size', 'sequence_length']) : null;
  // As above: one position is not that of all tokens.
  const numbers = given && graph.node('Reshape', [given, shape], { allowzero: 1 });
  return {
    numbers,
    projected: graph.node('Concat', [shape, graph.integers([nHeads + 2 * nKvHeads, headSize])], { axis: 0 }),
    rotary: numbers !== null && ropeBase > 0 ? addRotaryTable(graph, numbers, config) : null,
    mask,
  };
}

/** x [batch, seq, heads, headSize], halves rotated. */
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
  if (model.positions === null || numbers === null) return graph.node('Gather', [table, flat(ids, [-1])], { axis: 0 });
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

/** Logits [n, vocabSize] of x [n, dModel]. */
function addHead(graph: OnnxGraph, x: string, table: string, { head }: TransformerLM): string {
  if (head) return addLinear(graph, 'head', x, linearValues(head, true));
  // Quantizers change the layout of a matrix that Gemm transposes, which would spoil it for Gather.
  return graph.node('MatMul', [x, graph.node('Transpose', [table], { perm: [1, 0] })]);
}

/**
 * Inputs `input_ids` [batch, seq], `attention_mask` [batch, past + seq] and, where the model has positions, `position_ids`
 * [batch, seq], all int64; output `logits` [batch, seq, vocabSize]. With a cache also inputs `past_key_values.{i}.key` and
 * `.value` [batch, nKvHeads, past, headSize] and outputs `present.{i}.key` and `.value`. The names of the sizes are those of
 * Hugging Face's exports: transformers.js makes an empty cache from them.
 * The graph refers to the memory of the model and of tensors made here: write it before the enclosing scope ends.
 */
export function transformerGraph(model: TransformerLM, options: OnnxGraphOptions): OnnxGraph {
  const merged = options.weights === 'merged';
  const { config } = model;
  const { vocabSize, nKvHeads, headSize } = config;
  const graph = new OnnxGraph('structured-ffn transformer');
  const ids = graph.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
  const cacheShape = (length: string) => ['batch_size', nKvHeads, length, headSize];
  const pasts = model.blocks.map((_, i): Cache | null => {
    if (!options.cache) return null;
    const input = (part: string) =>
      graph.input(`past_key_values.${i}.${part}`, 'float32', cacheShape('past_sequence_length'));
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
  const logits = addHead(graph, hidden, table, model);
  const shape = graph.node('Concat', [graph.node('Shape', [ids]), graph.integers([vocabSize])], { axis: 0 });
  graph.output('logits', graph.node('Reshape', [logits, shape]), ['batch_size', 'sequence_length', vocabSize]);
  if (options.cache)
    presents.forEach(({ key, value }, i) => {
      graph.output(`present.${i}.key`, key, cacheShape('total_sequence_length'));
      graph.output(`present.${i}.value`, value, cacheShape('total_sequence_length'));
    });
  return graph;
}
