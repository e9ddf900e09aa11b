/**
 * Runs exported models in onnxruntime: requests as JSON on standard input, logits on standard output. A process of its own,
 * because onnxruntime refuses the typed arrays of jest's realm.
 */
import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';

export interface OnnxRequest {
  readonly model: string;
  readonly batch: number;
  /** [batch, seq]. */
  readonly ids: readonly number[];
  /** Lengths of the pieces in which a model with a cache gets the sequence. Default: all at once, without a cache. */
  readonly pieces?: readonly number[];
}

const toInt64 = (ids: readonly number[]): BigInt64Array => BigInt64Array.from(ids, BigInt);

/** Key and value inputs without any token. */
function emptyCache(session: InferenceSession, batch: number): Record<string, Tensor> {
  const cache: Record<string, Tensor> = {};
  for (const input of session.inputMetadata)
    if (input.isTensor && input.name.startsWith('past_key_values.')) {
      const [, heads, , size] = input.shape;
      cache[input.name] = new Tensor('float32', new Float32Array(0), [batch, Number(heads), 0, Number(size)]);
    }
  return cache;
}

async function answer({ model, batch, ids, pieces }: OnnxRequest): Promise<number[]> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const seq = ids.length / batch;
  const rows: number[][] = Array.from({ length: batch }, () => []);
  let cache = pieces ? emptyCache(session, batch) : {};
  let from = 0;
  for (const length of pieces ?? [seq]) {
    const piece = rows.flatMap((_, b) => ids.slice(b * seq + from, b * seq + from + length));
    const results = await session.run({ input_ids: new Tensor('int64', toInt64(piece), [batch, length]), ...cache });
    const logits = Array.from(results.logits!.data as Float32Array);
    const width = logits.length / batch;
    rows.forEach((row, b) => {
      row.push(...logits.slice(b * width, (b + 1) * width));
    });
    cache = Object.fromEntries(
      Object.keys(cache).map((name) => [name, results[name.replace('past_key_values', 'present')]!]),
    );
    from += length;
  }
  await session.release();
  return rows.flat();
}

async function main(): Promise<void> {
  const requests: OnnxRequest[] = JSON.parse(readFileSync(0, 'utf8'));
  const answers: (number[] | string)[] = [];
  for (const request of requests) answers.push(await answer(request).catch((error: unknown) => String(error)));
  process.stdout.write(JSON.stringify(answers));
}

main();
