/** Stage f, ours: decoding steps of the paper's models with bfloat16 and int8 weights, after a prompt. */
import { emptyCache } from '../lib';
import { Decoder } from '../lib/decode';
import { presetConfig, TransformerLM } from '../lib/nn';
import { type DecodingJob, decodingJobs } from './problems';
import { RepeatedDraws } from './support/draws';
import { Script } from './support/options';
import { OURS } from './support/rows';
import { median, round } from './support/timing';

const script = new Script();
const { device, size } = script;
const [WARM_UP, MOST_STEPS, FEWEST_STEPS] = size === 'full' ? [5, 100, 10] : [1, 5, 2];

async function measure(decoder: Decoder, { name, context, vocabSize }: DecodingJob, dtype: string, batch: number) {
  const prompt = Array.from({ length: context }, (_, i) => (i * 7919) % vocabSize);
  const sequences = Array.from({ length: batch }, () => decoder.sequence());
  try {
    const begin = performance.now();
    for (const sequence of sequences) await decoder.prefill(sequence, prompt);
    const prefill = performance.now() - begin;
    const step = async () => {
      await decoder.step(sequences.map((sequence) => ({ sequence, ids: [5] })));
      for (const sequence of sequences) sequence.rewind(context);
    };
    for (let i = 0; i < WARM_UP; i++) await step();
    const times: number[] = [];
    while (times.length < FEWEST_STEPS || (times.length < MOST_STEPS && !script.timeIsUp)) {
      const start = performance.now();
      await step();
      times.push(performance.now() - start);
    }
    const milliseconds = median(times, (time) => time);
    script.emit({
      kind: 'decoding',
      side: OURS,
      job: name,
      dtype,
      batch,
      context,
      milliseconds: round(milliseconds, 3),
      tokensPerSecond: Math.round((1e3 * batch) / milliseconds),
      weightGigabytes: round(decoder.stats().weightBytes / 1e9, 4),
      prefillTokensPerSecond: Math.round((1e3 * batch * context) / prefill),
    });
  } finally {
    for (const sequence of sequences) sequence.dispose();
  }
}

async function main(): Promise<void> {
  const jobs = decodingJobs(size);
  const dtypes = ['bfloat16', 'int8'] as const;
  let done = 0;
  for (const job of jobs) {
    if (script.timeIsUp) break;
    const { structure, ratio, nblocks } = job.variant;
    const ffn = structure === 'dense' ? { structure } : { structure, ratio, nblocks, init: 'xavier' as const };
    const config = presetConfig(job.preset, { ffn, vocabSize: job.vocabSize });
    const model = new TransformerLM(config, { generator: new RepeatedDraws(1) }).to(device).eval();
    for (const dtype of dtypes) {
      using decoder = new Decoder(model, { dtype });
      for (const batch of job.batches)
        await measure(decoder, job, dtype, batch).then(
          () => done++,
          (error) => script.fail(`${job.name}, ${dtype}, batch ${batch}`, error),
        );
    }
    model.dispose();
    emptyCache(device);
  }
  const of = jobs.reduce((total, { batches }) => total + dtypes.length * batches.length, 0);
  script.emit({ kind: 'coverage', side: OURS, done, of });
}

void main();
