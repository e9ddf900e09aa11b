/**
 * What the types of a decoder cost and gain: `npm run bench:settings -- loss CHECKPOINT TOKENS`, the loss of a checkpoint with each
 * of them, and `npm run bench:settings -- time`, layers and steps by rows. The tables of docs/decoding.md.
 */
import { Command, InvalidArgumentError } from 'commander';
import { full, setNumThreads } from '../lib';
import { TokenFile, tokenDTypeFor } from '../lib/data';
import { Decoder, type DecoderOptions, loadDecoder } from '../lib/decode';
import { WeightMatrix } from '../lib/decode/matrix';
import { kernels } from '../lib/kernels';
import { native } from '../lib/native';
import { TransformerLM } from '../lib/nn';
import { Storage } from '../lib/storage';

type Setting = Required<Pick<DecoderOptions, 'dtype' | 'cacheDtype' | 'activations'>>;

const WEIGHTS = ['float32', 'bfloat16', 'int8'] as const;
const SETTINGS: readonly Setting[] = WEIGHTS.flatMap((dtype) => [
  ...(['float32', 'bfloat16'] as const).map((cacheDtype) => ({ dtype, cacheDtype, activations: 'float32' as const })),
  ...(dtype === 'int8' ? [{ dtype, cacheDtype: 'float32' as const, activations: 'int8' as const }] : []),
]);

/** Of texts that are decoded together, as a server would. */
const TEXTS = 8;

/** Cross-entropy in nats. */
function lossOf(logits: Float32Array, target: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0)) + most - logits[target]!;
}

/** Mean over all targets of the first `count` rows of a file. */
async function meanLoss(decoder: Decoder, file: TokenFile, seqLen: number, count: number): Promise<number> {
  let [total, targets] = [0, 0];
  for (let first = 0; first < count; first += TEXTS) {
    const rows = Array.from({ length: Math.min(TEXTS, count - first) }, (_, i) =>
      Array.from(file.read((first + i) * seqLen, seqLen + 1)),
    );
    const entries = rows.map((row) => ({ sequence: decoder.sequence(), ids: row.slice(0, -1), logits: seqLen }));
    const logits = await decoder.step(entries);
    logits.forEach((each, at) => {
      total += lossOf(each, rows[Math.floor(at / seqLen)]![(at % seqLen) + 1]!);
    });
    targets += logits.length;
    for (const { sequence } of entries) sequence.dispose();
  }
  return total / targets;
}

async function losses(checkpoint: string, path: string, { rows, seqLen }: { rows: number; seqLen: number }) {
  let exact: number | null = null;
  for (const setting of SETTINGS) {
    using decoder = loadDecoder(checkpoint, setting).decoder;
    using file = new TokenFile(path, tokenDTypeFor(decoder.config.vocabSize));
    const length = Math.min(seqLen, decoder.config.seqLen);
    const count = Math.min(rows, Math.floor((file.length - 1) / length));
    const loss = await meanLoss(decoder, file, length, count);
    exact ??= loss;
    const change = ((100 * (loss - exact)) / exact).toFixed(5);
    const { dtype, cacheDtype, activations } = setting;
    console.log(
      `weights ${dtype}, keys and values ${cacheDtype}, rows ${activations}: ` +
        `${loss.toFixed(6)} nats over ${count * length} tokens, ${change} %`,
    );
  }
}

/** The least processor time of some calls in microseconds; they take turns, so that what else runs meets all of them. */
async function leastTimes(calls: readonly (() => unknown)[], milliseconds: number): Promise<number[]> {
  const least = calls.map(() => Number.POSITIVE_INFINITY);
  const end = performance.now() + milliseconds * calls.length;
  for (let round = 0; round < 3 || performance.now() < end; round++)
    for (const [i, call] of calls.entries()) {
      const before = process.cpuUsage();
      await call();
      const { user, system } = process.cpuUsage(before);
      least[i] = Math.min(least[i]!, user + system);
    }
  return least;
}

const ROWS = [1, 4, 8, 12, 13, 16, 24, 32, 64, 256];
/** So many weights that a call finds none of them in a cache. */
const COLD_VALUES = 40e6;

async function layerTimes(inFeatures: number, outFeatures: number, milliseconds: number): Promise<void> {
  const settings = SETTINGS.filter(({ cacheDtype }) => cacheDtype === 'float32');
  const most = Math.max(...ROWS);
  using x = new Storage(most * inFeatures, 'float32');
  using y = new Storage(most * outFeatures, 'float32');
  kernels.random_uniform({ y: x, seed_low: 1, seed_high: 0, offset: 0, low: -1, high: 1 });
  const dims = Int32Array.of(1, inFeatures, inFeatures, 1, outFeatures, inFeatures, 0);
  const layers = settings.map(({ dtype, activations }) => {
    const count = Math.max(2, Math.ceil(COLD_VALUES / (inFeatures * outFeatures)));
    const copies = Array.from({ length: count }, () =>
      WeightMatrix.of(full([outFeatures, inFeatures], 0.01), true).as(dtype),
    );
    let next = 0;
    const call = (n: number) => {
      const u = copies[next++ % count]!;
      const int8_rows = activations === 'int8' ? 1 : 0;
      const operands = { x, v: null, v_scales: null, u, u_scales: u.scales, bias: null, y, n, dims, int8_rows };
      kernels.decode_linear({ ...operands, activation: native.activations.none });
    };
    return { name: `${dtype}${int8Rows(activations)}`, call, copies };
  });
  console.log(`\n${inFeatures} → ${outFeatures}, microseconds: rows, ${layers.map(({ name }) => name).join(', ')}`);
  for (const n of ROWS) {
    const times = await leastTimes(
      layers.map(
        ({ call }) =>
          () =>
            call(n),
      ),
      milliseconds,
    );
    console.log([n, ...times.map((time) => time.toFixed(0))].join('\t'));
  }
  for (const copy of layers.flatMap(({ copies }) => copies)) copy.dispose();
}

const int8Rows = (activations: Setting['activations']): string => (activations === 'int8' ? ' with int8 rows' : '');

async function stepTimes(structure: 'dense' | 'lowrank', milliseconds: number): Promise<void> {
  const ffn = structure === 'dense' ? { structure } : { structure, ratio: 0.32 };
  const sizes = { vocabSize: 8192, dModel: 768, nLayers: 2, nHeads: 12, seqLen: 2048, firstFfnDense: false };
  const model = new TransformerLM({ ...sizes, ffn }, { init: 'normal' }).eval();
  const settings = SETTINGS.filter(({ cacheDtype }) => cacheDtype === 'float32');
  const decoders = settings.map((setting) => new Decoder(model, { ...setting, prefillChunk: 512 }));
  const names = settings.map(({ dtype, activations }) => `${dtype}${int8Rows(activations)}`);
  console.log(`\n${structure}, 2 layers of 768, milliseconds: what, ${names.join(', ')}`);
  const report = async (what: string, calls: readonly (() => unknown)[]) => {
    const times = await leastTimes(calls, milliseconds);
    console.log([what, ...times.map((time) => (time / 1000).toFixed(2))].join('\t'));
  };
  const prompt = Array.from({ length: 512 }, (_, i) => (i * 37) % sizes.vocabSize);
  await report(
    'prompt of 512',
    decoders.map((decoder) => async () => {
      using sequence = decoder.sequence();
      await decoder.prefill(sequence, prompt);
    }),
  );
  for (const batch of [1, 8, 16, 32, 64])
    await report(
      `batch ${batch}`,
      decoders.map((decoder) => {
        const sequences = Array.from({ length: batch }, () => decoder.sequence());
        return async () => {
          await decoder.step(sequences.map((sequence) => ({ sequence, ids: [1] })));
          for (const sequence of sequences) sequence.rewind(0);
        };
      }),
    );
  for (const decoder of decoders) decoder.dispose();
  model.dispose();
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

const command = new Command('bench:settings').description('What the types of a decoder cost and gain.');
command
  .command('loss')
  .argument('<checkpoint>', 'folder of a checkpoint with float32 weights')
  .argument('<tokens>', 'token file that it was not trained on')
  .option('--rows <n>', 'most rows of the file', positive, 256)
  .option('--seq-len <n>', 'tokens of a row', positive, 128)
  .action(losses);
command
  .command('time')
  .option('--ms <n>', 'time for each figure', positive, 150)
  .action(async ({ ms }: { ms: number }) => {
    setNumThreads(1);
    for (const [from, to] of [
      [768, 3072],
      [3072, 768],
      [768, 192],
    ] as const)
      await layerTimes(from, to, ms);
    for (const structure of ['dense', 'lowrank'] as const) await stepTimes(structure, ms);
  });
command.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
