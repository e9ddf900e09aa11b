/** Decoding with a whole model, steps and prompts: batch sizes, lengths, precisions, forms of the structured layers. */
import { type CrossoverTable, loadTable, tune } from '../../lib/decode';
import { getIsa, getNumThreads } from '../../lib/device';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import type { Contender } from '../harness/contender';
import { type Context, precisions, tokenCounts, wantsOp } from '../harness/context';
import { DecodeMatrices, MemoryRead } from '../harness/decode_matrices';
import { type DecodeIds, type DecodeLoad, decodeIds, OurDecoder } from '../harness/our_decoder';
import { exactly } from '../harness/results';
import { interleave } from '../harness/sampling';
import { forEachSetting } from '../harness/settings';
import { mostError, PRECISIONS, type Precision } from '../harness/side';
import { quantile, relativeError, summarize } from '../harness/statistics';
import { DENSE, type Variant } from '../harness/variants';
import { onnxDecoder, pytorchDecoders } from '../rivals/decoding';
import { LlamaCpp } from '../rivals/llama_cpp';
import { Onnxruntime } from '../rivals/onnxruntime';
import { modelSize, modelVariants, pytorchsOf } from './models';
import type { Suite } from './suite';

const LAYERS = 12;
/** Of ours everywhere: they save memory traffic. */
const OUR_PRECISIONS = PRECISIONS;
const READ_BYTES = 256e6;

function loads(context: Context, seqLen: number): DecodeLoad[] {
  const long = seqLen > 64;
  const contexts = !long ? [8] : context.full ? [64, 256, 512, 1000] : [64, 512];
  const batches = tokenCounts(context, context.full ? [1, 2, 4, 8, 16, 32, 64] : [1, 8, 64]);
  const [shortest = 8, ...longer] = contexts;
  return [
    ...batches.map((batch) => ({ op: 'decode', batch, context: shortest }) as const),
    ...(batches.includes(1) ? longer.map((length) => ({ op: 'decode', batch: 1, context: length }) as const) : []),
    { op: 'prompt', batch: 1, context: long ? 512 : shortest },
  ];
}

function createModel(variant: Variant, config: TransformerConfig): TransformerLM {
  const { structure, ratio, nblocks } = variant;
  const ffn = structure === 'dense' ? { structure } : { structure, ratio, nblocks };
  return new TransformerLM({ ...config, ffn }, { init: 'xavier' }).eval();
}

/** A model of one structure, and when its layers should be merged. */
interface Entry {
  readonly name: string;
  readonly model: TransformerLM;
  readonly table: CrossoverTable;
}

function createEntry(variant: Variant, config: TransformerConfig, dtypes: readonly Precision[]): Entry {
  const model = createModel(variant, config);
  let table: CrossoverTable = loadTable();
  for (const dtype of dtypes) table = new Map([...table, ...tune(model, { dtype, known: table })]);
  return { name: variant.name, model, table };
}

/** Factors have the variant's own name; then come the forms of structured layers: of float32, with `full` of all. */
function decodersOf({ name, model, table }: Entry, dtypes: readonly Precision[], full: boolean): OurDecoder[] {
  const structured = name !== DENSE.name;
  return dtypes.flatMap((dtype) => {
    const factored = new OurDecoder(name, model, { dtype });
    if (!structured || (dtype !== 'float32' && !full)) return [factored];
    return [
      factored,
      new OurDecoder(`${name} merged`, model, { dtype, dispatch: 'merged' }),
      new OurDecoder(`${name} auto`, model, { dtype, dispatch: 'auto', table }),
    ];
  });
}

async function rivalsOf(context: Context, variant: string, model: TransformerLM, ids: DecodeIds) {
  const wanted = precisions(context);
  const onnx = context.rivals.find((rival): rival is Onnxruntime => rival instanceof Onnxruntime);
  const made: Contender[] = [];
  for (const pytorch of pytorchsOf(context))
    made.push(...(await pytorchDecoders(pytorch, variant, model, wanted, ids)));
  const llama = context.rivals.find((rival): rival is LlamaCpp => rival instanceof LlamaCpp);
  if (llama && variant === DENSE.name)
    made.push(...(await llama.decoders(variant, model, precisions(context, OUR_PRECISIONS), ids)));
  if (onnx && wanted.includes('float32')) made.push(await onnxDecoder(onnx, variant, model, ids));
  return made;
}

/** Our logits in float32, which the rivals' are compared with. */
async function expectedLogits(model: TransformerLM, ids: DecodeIds): Promise<Float32Array> {
  const reference = new OurDecoder('reference', model, { dtype: 'float32' });
  await reference.load(ids);
  const [logits] = await reference.outputs();
  await reference.close();
  return logits!;
}

function rowOf({ variant, side }: Contender, { config }: TransformerLM, tokens: number) {
  const shape = `d${config.dModel} ${config.nLayers} layers`;
  const unit = 'ms' as const;
  return { suite: 'decode', shape, tokens, threads: getNumThreads(), isa: getIsa(), variant, side, unit };
}

/** Only the matrices of a step on one token, compared with plain reads of memory. */
async function measureMatrices(context: Context, entries: readonly Entry[]): Promise<void> {
  const matrices = entries.flatMap(({ name, model }) =>
    precisions(context, OUR_PRECISIONS).map((dtype) => ({ model, contender: new DecodeMatrices(name, model, dtype) })),
  );
  const read = new MemoryRead(READ_BYTES);
  const all = [...matrices, { model: entries[0]!.model, contender: read }];
  const samples = await interleave(
    all.map(({ contender }) => contender),
    context.sampling,
  );
  context.add(
    all.map(({ model, contender }) => ({
      ...rowOf(contender, model, 1),
      op: 'decode',
      phase: 'matrices alone',
      flops: 0,
      bytes: contender.bytes,
      error: null,
      ...summarize(samples.get(contender) ?? []),
    })),
  );
  for (const { contender } of all) await contender.close();
}

/** Logits with a mean of 0 in each row: some rivals give probabilities, which leave a number of each row open. */
function centred(logits: Float32Array, rows: number): Float32Array {
  const width = logits.length / rows;
  const means = Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) sum += logits[i]!;
    return sum / width;
  });
  return logits.map((value, i) => value - means[Math.floor(i / width)]!);
}

/** The head of a prompt computes the logits of its last token alone. */
function flopsOf(model: TransformerLM, { op, batch, context }: DecodeLoad): number {
  const { total, head } = model.flopsPerToken(context);
  return op === 'decode' ? total * batch : (total - head) * context + head;
}

/** Dense and one structure in turns: all structures at once would not fit in memory with many sequences. */
async function measure(context: Context, dense: Entry, entry: Entry, load: DecodeLoad): Promise<void> {
  const ids = decodeIds(load, dense.model.config.vocabSize);
  const ours: OurDecoder[] = [];
  const rivals = new Map<Contender, { model: TransformerLM; error: number }>();
  for (const one of new Set([dense, entry])) {
    const decoders = decodersOf(one, precisions(context, OUR_PRECISIONS), context.full);
    ours.push(...decoders);
    for (const decoder of decoders) await decoder.load(ids);
    const expected = await expectedLogits(one.model, ids);
    for (const rival of await rivalsOf(context, one.name, one.model, ids)) {
      const [logits] = await rival.outputs();
      const error = relativeError(centred(logits!, load.batch), centred(expected, load.batch));
      if (!(error < mostError(rival))) throw new Error(`${rival.side}, ${rival.variant}: logits differ by ${error}`);
      rivals.set(rival, { model: one.model, error });
    }
  }
  const { op } = load;
  const prompt = op === 'prompt';
  const tokens = prompt ? load.context : load.batch;
  const phase = prompt ? entry.name : `${entry.name}, context ${load.context}`;
  const samples = await interleave([...ours, ...rivals.keys()], context.sampling);
  for (const [contender, taken] of samples) {
    const rival = rivals.get(contender);
    const own = ours.find((decoder) => decoder === contender);
    const model = rival?.model ?? own!.model;
    const row = {
      ...rowOf(contender, model, tokens),
      op,
      flops: flopsOf(model, load),
      bytes: own?.bytes(load) ?? 0,
      error: rival?.error ?? null,
    };
    const sorted = [...taken].sort((a, b) => a - b);
    context.add([
      { ...row, phase, ...summarize(taken) },
      { ...row, phase: `${phase}, 95th percentile`, ...exactly(quantile(sorted, 0.95)) },
    ]);
  }
  for (const contender of samples.keys()) await contender.close();
}

export const decode: Suite = {
  name: 'decode',
  about: 'a decoding step of a transformer with a cache, by batch size, context and weight type; a prompt',
  async run(context) {
    if (!wantsOp(context, 'decode')) return;
    const { dModel, nHeads, vocabSize, seqLen } = modelSize(context);
    const small = dModel < 256;
    const config = { dModel, nHeads, vocabSize, nLayers: small ? 2 : LAYERS, seqLen: small ? seqLen : 1024 };
    await forEachSetting(context, async (setting) => {
      const entries = modelVariants(context).map((variant) =>
        createEntry(variant, config, precisions(context, OUR_PRECISIONS)),
      );
      const [dense, ...structured] = entries;
      await measureMatrices(setting, entries);
      for (const entry of structured.length > 0 ? structured : [dense!])
        for (const load of loads(context, config.seqLen)) await measure(setting, dense!, entry, load);
      for (const { model } of entries) model.dispose();
    });
  },
};
