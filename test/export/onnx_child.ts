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
  /** Lengths of the pieces in which a model with a cache gets the sequence. Default: all at once. */
  readonly pieces?: readonly number[];
  /** Tokens of each row that only fill it, on the left. Default: none. */
  readonly padding?: readonly number[];
  /** Inputs given in place of the right ones. */
  readonly wrong?: Readonly<Record<string, { readonly dims: readonly number[]; readonly data: readonly number[] }>>;
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

async function answer(request: OnnxRequest): Promise<number[]> {
  const { model, batch, ids, pieces, padding = Array(batch).fill(0), wrong = {} } = request;
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const seq = ids.length / batch;
  const rows: number[][] = Array.from({ length: batch }, () => []);
  const integers = (of: (row: number, at: number) => number, from: number, to: number) =>
    new Tensor('int64', toInt64(rows.flatMap((_, b) => Array.from({ length: to - from }, (_, i) => of(b, from + i)))), [
      batch,
      to - from,
    ]);
  const changed = Object.entries(wrong).map(([name, { dims, data }]) => [
    name,
    new Tensor('int64', toInt64(data), dims),
  ]);
  let cache = emptyCache(session, batch);
  let from = 0;
  for (const length of pieces ?? [seq]) {
    const to = from + length;
    const feeds = {
      input_ids: integers((b, at) => ids[b * seq + at]!, from, to),
      attention_mask: integers((b, at) => (at < padding[b]! ? 0 : 1), 0, to),
      ...(session.inputNames.includes('position_ids') && {
        position_ids: integers((b, at) => Math.max(at - padding[b]!, 0), from, to),
      }),
      ...Object.fromEntries(changed),
    };
    const results = await session.run({ ...feeds, ...cache });
    const logits = Array.from(results.logits!.data as Float32Array);
    const width = logits.length / batch;
    rows.forEach((row, b) => {
      row.push(...logits.slice(b * width, (b + 1) * width));
    });
    cache = Object.fromEntries(
      Object.keys(cache).map((name) => [name, results[name.replace('past_key_values', 'present')]!]),
    );
    from = to;
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
