/**
 * The same decoding step by the rivals that can do it: PyTorch with a cache in place, onnxruntime with our exported
 * model.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportOnnx } from '../../lib/export';
import type { TransformerLM } from '../../lib/nn';
import type { Contender } from '../harness/contender';
import type { DecodeIds } from '../harness/our_decoder';
import { timeAsyncCalls } from '../harness/sampling';
import type { Precision } from '../harness/side';
import type { Onnxruntime } from './onnxruntime';
import type { Pytorch } from './pytorch';
import type { TensorFile } from './pytorch_process';

export function pytorchDecoders(
  pytorch: Pytorch,
  variant: string,
  model: TransformerLM,
  precisions: readonly Precision[],
  { op, prompts, next }: DecodeIds,
): Promise<Contender[]> {
  return pytorch.contenders(op === 'decode' ? 'decoder' : 'prompt', variant, precisions, (write) => {
    const parameters: Record<string, TensorFile> = {};
    for (const [name, { data, shape }] of model.namedParameters()) parameters[name] = write(data, shape);
    const prompt = write(Int32Array.from(prompts.flat()), [prompts.length, prompts[0]?.length ?? 0]);
    const following = write(Int32Array.from(next), [next.length, 1]);
    const { nLayers, nHeads } = model.config;
    return { nLayers, nHeads, prompt, next: following, parameters };
  });
}

/** Each call returns keys and values as new tensors: an exported cache works that way. */
export async function onnxDecoder(
  { runtime, threads }: Onnxruntime,
  variant: string,
  model: TransformerLM,
  { op, prompts, next }: DecodeIds,
): Promise<Contender> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-onnx-'));
  exportOnnx(model, folder, { force: true });
  const session = await runtime.InferenceSession.create(join(folder, 'onnx', 'model.onnx'), {
    intraOpNumThreads: threads,
  });
  rmSync(folder, { recursive: true });
  const { nHeads, nKvHeads = nHeads, attnDim, dModel } = model.config;
  const batch = prompts.length;
  const ids = (rows: readonly number[]) =>
    new runtime.Tensor('int64', BigInt64Array.from(rows, BigInt), [batch, rows.length / batch]);
  const isCache = (name: string) => name.startsWith('past_key_values.');
  const empty = () =>
    new runtime.Tensor('float32', new Float32Array(), [batch, nKvHeads, 0, (attnDim ?? dModel) / nHeads]);
  const context = prompts[0]?.length ?? 0;
  const all = (length: number, of: (at: number) => number) =>
    ids(prompts.flatMap(() => Array.from({ length }, (_, at) => of(at))));
  const prompt = {
    input_ids: ids(prompts.flat()),
    attention_mask: all(context, () => 1),
    position_ids: all(context, (at) => at),
    ...Object.fromEntries(session.inputNames.filter(isCache).map((name) => [name, empty()])),
  };
  const first = await session.run(prompt);
  const step = {
    input_ids: ids(next),
    attention_mask: all(context + 1, () => 1),
    position_ids: all(1, () => context),
    ...Object.fromEntries(
      session.inputNames.filter(isCache).map((name) => [name, first[name.replace('past_key_values', 'present')]!]),
    ),
  };
  const call = async () => (await session.run(op === 'decode' ? step : prompt)).logits;
  return {
    side: 'onnxruntime',
    variant,
    async outputs() {
      const data = (await call())?.data;
      if (!(data instanceof Float32Array)) throw new Error('onnxruntime gave no float32 logits');
      const { vocabSize } = model.config;
      const last = op === 'decode' ? data : data.subarray(-vocabSize);
      return [last];
    },
    sample: (milliseconds) => timeAsyncCalls(call, milliseconds),
    async close() {
      await session.release();
    },
  };
}
