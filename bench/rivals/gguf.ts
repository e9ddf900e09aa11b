/** A dense model as a GGUF file of llama.cpp, architecture starcoder2: that of our export for Hugging Face, whose names it changes. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportHuggingFace } from '../../lib/export';
import { toBfloat16 } from '../../lib/functional';
import { loadSafetensors } from '../../lib/io';
import type { TransformerLM } from '../../lib/nn';
import type { Precision } from '../harness/side';

/** Values in a block of q8_0. */
const BLOCK = 32;
const ALIGNMENT = 32;

const bytesOf = (array: Float32Array | Uint16Array): Buffer =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength);

/** The bits of the nearest half of a number that is not negative and below 65504. */
export function halfBits(value: number): number {
  const exponent = Math.max(-14, Math.floor(Math.log2(value)));
  return ((exponent + 14) << 10) + Math.round(value / 2 ** (exponent - 10));
}

/** Blocks of a scale, the largest magnitude / 127 as a half, and 32 bytes. */
export function quantize(values: Float32Array): Buffer {
  const bytes = Buffer.alloc((values.length / BLOCK) * (2 + BLOCK));
  for (let from = 0, at = 0; from < values.length; from += BLOCK, at += 2 + BLOCK) {
    let most = 0;
    for (let i = 0; i < BLOCK; i++) most = Math.max(most, Math.abs(values[from + i]!));
    bytes.writeUInt16LE(halfBits(most / 127), at);
    for (let i = 0; i < BLOCK; i++) bytes[at + 2 + i] = most === 0 ? 0 : Math.round((values[from + i]! / most) * 127);
  }
  return bytes;
}

/** Their number and encoding of matrices; vectors are float32. */
const TYPES: Readonly<Record<Precision, { readonly code: number; readonly encode: (values: Float32Array) => Buffer }>> =
  {
    float32: { code: 0, encode: bytesOf },
    bfloat16: { code: 30, encode: (values) => bytesOf(toBfloat16(values)) },
    int8: { code: 8, encode: quantize },
  };

const NAMES: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.c_fc': 'ffn_up',
  'mlp.c_proj': 'ffn_down',
};

function nameOf(name: string): string {
  const [, layer, stem = '', kind] = name.match(/^(?:model\.layers\.(\d+)\.)?(.*)\.(weight|bias)$/) ?? [];
  const known = NAMES[stem];
  if (known === undefined) throw new Error(`no name in GGUF for ${name}`);
  return `${layer === undefined ? '' : `blk.${layer}.`}${known}.${kind}`;
}

const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const f32 = (value: number): Buffer => Buffer.from(Float32Array.of(value).buffer);
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** A value with its type before it. */
const typed = {
  count: (value: number) => Buffer.concat([u32(4), u32(value)]),
  number: (value: number) => Buffer.concat([u32(6), f32(value)]),
  flag: (value: boolean) => Buffer.concat([u32(7), Buffer.of(value ? 1 : 0)]),
  text: (value: string) => Buffer.concat([u32(8), text(value)]),
  texts: (values: readonly string[]) => Buffer.concat([u32(9), u32(8), u64(values.length), ...values.map(text)]),
  codes: (values: readonly number[]) => Buffer.concat([u32(9), u32(5), u64(values.length), ...values.map(u32)]),
};

/** A vocabulary of the model's size, though nobody feeds text: bytes, pairs of them, and an end of text. */
function vocabulary(size: number): Record<string, Buffer> {
  const kept = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  let others = 0;
  const chars = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(kept(byte) ? byte : 256 + others++));
  const pairs = chars.flatMap((a) => chars.map((b) => [a, b] as const)).slice(0, size - 257);
  const tokens = [...chars, ...pairs.map(([a, b]) => a + b), '<|endoftext|>'];
  const [normal, control] = [1, 3];
  return {
    'tokenizer.ggml.model': typed.text('gpt2'),
    'tokenizer.ggml.pre': typed.text('gpt-2'),
    'tokenizer.ggml.tokens': typed.texts(tokens),
    'tokenizer.ggml.token_type': typed.codes(tokens.map((_, i) => (i === size - 1 ? control : normal))),
    'tokenizer.ggml.merges': typed.texts(pairs.map(([a, b]) => `${a} ${b}`)),
    'tokenizer.ggml.bos_token_id': typed.count(size - 1),
    'tokenizer.ggml.eos_token_id': typed.count(size - 1),
    'tokenizer.ggml.add_bos_token': typed.flag(false),
  };
}

interface HuggingFaceConfig {
  readonly model_type: string;
  readonly max_position_embeddings: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly norm_epsilon: number;
  readonly rope_theta: number;
  readonly vocab_size: number;
}

function metadata(config: HuggingFaceConfig): Record<string, Buffer> {
  if (config.model_type !== 'starcoder2') throw new Error(`a GGUF file of ${config.model_type} is not written here`);
  const own = {
    context_length: typed.count(config.max_position_embeddings),
    embedding_length: typed.count(config.hidden_size),
    feed_forward_length: typed.count(config.intermediate_size),
    block_count: typed.count(config.num_hidden_layers),
    'attention.head_count': typed.count(config.num_attention_heads),
    'attention.head_count_kv': typed.count(config.num_key_value_heads),
    'attention.layer_norm_epsilon': typed.number(config.norm_epsilon),
    'rope.freq_base': typed.number(config.rope_theta),
    'rope.dimension_count': typed.count(config.head_dim),
  };
  return {
    'general.architecture': typed.text('starcoder2'),
    'general.name': typed.text('bench'),
    ...Object.fromEntries(Object.entries(own).map(([key, value]) => [`starcoder2.${key}`, value])),
    ...vocabulary(config.vocab_size),
  };
}

/** Whether the matrices of a model of this width have an encoding. */
export const canWrite = (width: number, precision: Precision): boolean => precision !== 'int8' || width % BLOCK === 0;

/** Writes the file at `path`. */
export function writeGguf(path: string, model: TransformerLM, precision: Precision): void {
  const folder = mkdtempSync(join(tmpdir(), 'bench-gguf-'));
  const out = openSync(path, 'w');
  let written = 0;
  const write = (bytes: Buffer) => {
    for (let from = 0; from < bytes.length; ) from += writeSync(out, bytes, from);
    written += bytes.length;
  };
  const pad = () => write(Buffer.alloc((ALIGNMENT - (written % ALIGNMENT)) % ALIGNMENT));
  try {
    exportHuggingFace(model, folder, { force: true });
    const { tensors } = loadSafetensors(join(folder, 'model.safetensors'));
    const about = metadata(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')));
    // A head that shares the embedding's weights is not repeated.
    const all = [...tensors].filter(([name]) => name !== 'lm_head.weight');
    let offset = 0;
    const parts = all.map(([name, { shape, data }]) => {
      const { code, encode } = TYPES[shape.length < 2 ? 'float32' : precision];
      const bytes = encode(Float32Array.from(data));
      const sizes = [...shape].reverse().map(u64);
      const info = Buffer.concat([text(nameOf(name)), u32(sizes.length), ...sizes, u32(code), u64(offset)]);
      offset += Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
      return { info, bytes };
    });
    write(Buffer.concat([Buffer.from('GGUF'), u32(3), u64(parts.length), u64(Object.keys(about).length)]));
    for (const [key, value] of Object.entries(about)) write(Buffer.concat([text(key), value]));
    for (const { info } of parts) write(info);
    for (const { bytes } of parts) {
      pad();
      write(bytes);
    }
  } finally {
    closeSync(out);
    rmSync(folder, { recursive: true });
  }
}
