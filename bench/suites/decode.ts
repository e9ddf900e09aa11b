/** A decoding step of a whole model: batch sizes, lengths of context, weight types, forms of the structured layers. */
import { type CrossoverTable, loadTable, tune, type WeightDType } from '../../lib/decode';
import { getIsa, getNumThreads } from '../../lib/device';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import type { Contender } from '../harness/contender';
import { type Context, tokenCounts, wantsOp } from '../harness/context';
import { DecodeMatrices, MemoryRead } from '../harness/decode_matrices';
import { type DecodeIds, type DecodeLoad, decodeIds, OurDecoder } from '../harness/our_decoder';
import { exactly } from '../harness/results';
import { interleave } from '../harness/sampling';
import { forEachSetting } from '../harness/settings';
import { quantile, relativeError, summarize } from '../harness/statistics';
import { DENSE, type Variant } from '../harness/variants';
import { onnxDecoder, pytorchDecoder } from '../rivals/decoding';
import { Onnxruntime } from '../rivals/onnxruntime';
import { modelSize, modelVariants, pytorchOf } from './models';
import type { Suite } from './suite';

const LAYERS = 12;
const MOST_ERROR = 1e-3;
const DTYPES: readonly WeightDType[] = ['float32', 'bfloat16', 'int8'];
const READ_BYTES = 256e6;

function loads(context: Context, seqLen: number): DecodeLoad[] {
  const long = seqLen > 64;
  const contexts = !long ? [8] : context.full ? [64, 256, 512, 1000] : [64, 512];
  const batches = tokenCounts(context, context.full ? [1, 2, 4, 8, 16, 32, 64] : [1, 8, 64]);
  const [shortest = 8, ...longer] = contexts;
  return [
    ...batches.map((batch) => ({ batch, context: shortest })),
    ...(batches.includes(1) ? longer.map((length) => ({ batch: 1, context: length })) : []),
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

function createEntry(variant: Variant, config: TransformerConfig): Entry {
  const model = createModel(variant, config);
  let table: CrossoverTable = loadTable();
  for (const dtype of DTYPES) table = new Map([...table, ...tune(model, { dtype, known: table })]);
  return { name: variant.name, model, table };
}

/**
 * float32 with factors has the variant's own name; then come the weight types, and the forms of structured layers: of
 * float32, with `full` of all types.
 */
function decodersOf({ name, model, table }: Entry, full: boolean): OurDecoder[] {
  const structured = name !== DENSE.name;
  return DTYPES.flatMap((dtype) => {
    const own = dtype === 'float32' ? name : `${name} ${dtype}`;
    const factored = new OurDecoder(own, model, { dtype });
    if (!structured || (dtype !== 'float32' && !full)) return [factored];
    return [
      factored,
      new OurDecoder(`${own} merged`, model, { dtype, dispatch: 'merged' }),
      new OurDecoder(`${own} auto`, model, { dtype, dispatch: 'auto', table }),
    ];
  });
}

async function rivalsOf({ rivals, ...context }: Context, variant: string, model: TransformerLM, ids: DecodeIds) {
  const pytorch = pytorchOf({ ...context, rivals });
  const onnx = rivals.find((rival): rival is Onnxruntime => rival instanceof Onnxruntime);
  const made: Contender[] = [];
  if (pytorch) made.push(await pytorchDecoder(pytorch, variant, model, ids));
  if (onnx) made.push(await onnxDecoder(onnx, variant, model, ids));
  return made;
}

function rowOf({ variant, side }: Contender, { config }: TransformerLM, tokens: number) {
  const shape = `d${config.dModel} ${config.nLayers} layers`;
  const unit = 'ms' as const;
  return { suite: 'decode', op: 'decode', shape, tokens, threads: getNumThreads(), isa: getIsa(), variant, side, unit };
}

/** Only the matrices of a step on one token, compared with plain reads of memory. */
async function measureMatrices(context: Context, entries: readonly Entry[]): Promise<void> {
  const matrices = entries.flatMap(({ name, model }) =>
    DTYPES.map((dtype) => ({
      model,
      contender: new DecodeMatrices(dtype === 'float32' ? name : `${name} ${dtype}`, model, dtype),
    })),
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
      phase: 'matrices alone',
      flops: 0,
      bytes: contender.bytes,
      error: null,
      ...summarize(samples.get(contender) ?? []),
    })),
  );
  for (const { contender } of all) await contender.close();
}

/** Dense and one structure in turns: all structures at once would not fit in memory with many sequences. */
async function measure(context: Context, dense: Entry, entry: Entry, load: DecodeLoad): Promise<void> {
  const ids = decodeIds(load, dense.model.config.vocabSize);
  const ours: OurDecoder[] = [];
  const rivals = new Map<Contender, { model: TransformerLM; error: number }>();
  for (const one of new Set([dense, entry])) {
    const decoders = decodersOf(one, context.full);
    ours.push(...decoders);
    for (const decoder of decoders) await decoder.load(ids);
    const [expected] = await decoders[0]!.outputs();
    for (const rival of await rivalsOf(context, one.name, one.model, ids)) {
      const error = relativeError((await rival.outputs())[0]!, expected!);
      if (!(error < MOST_ERROR)) throw new Error(`${rival.side}, ${rival.variant}: logits differ by ${error}`);
      rivals.set(rival, { model: one.model, error });
    }
  }
  const phase = `${entry.name}, context ${load.context}`;
  const samples = await interleave([...ours, ...rivals.keys()], context.sampling);
  for (const [contender, taken] of samples) {
    const rival = rivals.get(contender);
    const own = ours.find((decoder) => decoder === contender);
    const model = rival?.model ?? own!.model;
    const row = {
      ...rowOf(contender, model, load.batch),
      flops: model.flopsPerToken(load.context).total * load.batch,
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
  about: 'a decoding step of a transformer with a cache, by batch size, context and weight type',
  async run(context) {
    if (!wantsOp(context, 'decode')) return;
    const { dModel, nHeads, vocabSize, seqLen } = modelSize(context);
    const small = dModel < 256;
    const config = { dModel, nHeads, vocabSize, nLayers: small ? 2 : LAYERS, seqLen: small ? seqLen : 1024 };
    await forEachSetting(context, async (setting) => {
      const entries = modelVariants(context).map((variant) => createEntry(variant, config));
      const [dense, ...structured] = entries;
      await measureMatrices(setting, entries);
      for (const entry of structured.length > 0 ? structured : [dense!])
        for (const load of loads(context, config.seqLen)) await measure(setting, dense!, entry, load);
      for (const { model } of entries) model.dispose();
    });
  },
};
