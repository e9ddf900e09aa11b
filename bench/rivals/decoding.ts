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
import type { Onnxruntime } from './onnxruntime';
import type { Pytorch } from './pytorch';
import type { TensorFile } from './pytorch_process';

export function pytorchDecoder(
  { process }: Pytorch,
  variant: string,
  model: TransformerLM,
  { prompts, next }: DecodeIds,
): Promise<Contender> {
  const files: TensorFile[] = [];
  const write = (data: Float32Array | Int32Array, shape: readonly number[]) => {
    const file = process.write(data, shape);
    files.push(file);
    return file;
  };
  const parameters: Record<string, TensorFile> = {};
  for (const [name, { data, shape }] of model.namedParameters()) parameters[name] = write(data, shape);
  const prompt = write(Int32Array.from(prompts.flat()), [prompts.length, prompts[0]?.length ?? 0]);
  const following = write(Int32Array.from(next), [next.length, 1]);
  const { nLayers, nHeads } = model.config;
  return process.create('decoder', variant, { nLayers, nHeads, prompt, next: following, parameters }, files);
}

/** Each call returns keys and values as new tensors: an exported cache works that way. */
export async function onnxDecoder(
  { runtime, threads }: Onnxruntime,
  variant: string,
  model: TransformerLM,
  { prompts, next }: DecodeIds,
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
  const first = await session.run({
    input_ids: ids(prompts.flat()),
    attention_mask: all(context, () => 1),
    position_ids: all(context, (at) => at),
    ...Object.fromEntries(session.inputNames.filter(isCache).map((name) => [name, empty()])),
  });
  const feeds = {
    input_ids: ids(next),
    attention_mask: all(context + 1, () => 1),
    position_ids: all(1, () => context),
    ...Object.fromEntries(
      session.inputNames.filter(isCache).map((name) => [name, first[name.replace('past_key_values', 'present')]!]),
    ),
  };
  return {
    side: 'onnxruntime',
    variant,
    async outputs() {
      const data = (await session.run(feeds)).logits?.data;
      if (!(data instanceof Float32Array)) throw new Error('onnxruntime gave no float32 logits');
      return [data];
    },
    async sample(milliseconds) {
      const samples: number[] = [];
      const end = performance.now() + milliseconds;
      for (let now = performance.now(); samples.length === 0 || now < end; now = performance.now()) {
        await session.run(feeds);
        samples.push(performance.now() - now);
      }
      return samples;
    },
    async close() {
      await session.release();
    },
  };
}
