/** A decoding step of a whole model: batch sizes, lengths of context, weight types, forms of the structured layers. */
import { loadTable, tune, type WeightDType } from '../../lib/decode';
import { getIsa, getNumThreads } from '../../lib/device';
import { type TransformerConfig, TransformerLM } from '../../lib/nn';
import type { Contender } from '../harness/contender';
import { type Context, tokenCounts, wantsOp } from '../harness/context';
import { type DecodeIds, type DecodeLoad, decodeIds, OurDecoder } from '../harness/our_decoder';
import { exactly, type Result } from '../harness/results';
import { interleave } from '../harness/sampling';
import { forEachSetting } from '../harness/settings';
import { quantile, relativeError, summarize } from '../harness/statistics';
import type { Variant } from '../harness/variants';
import { onnxDecoder, pytorchDecoder } from '../rivals/decoding';
import { Onnxruntime } from '../rivals/onnxruntime';
import { modelSize, modelVariants, pytorchOf } from './models';
import type { Suite } from './suite';

const LAYERS = 12;
const MOST_ERROR = 1e-3;
const REDUCED: readonly WeightDType[] = ['bfloat16', 'int8'];

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

/** float32 by the factors under the variant's own name; then the weight types, and for low rank the other forms. */
function decodersOf({ name, structure }: Variant, model: TransformerLM): OurDecoder[] {
  const own = [
    new OurDecoder(name, model, {}),
    ...REDUCED.map((dtype) => new OurDecoder(`${name} ${dtype}`, model, { dtype })),
  ];
  if (structure !== 'lowrank') return own;
  const known = loadTable();
  const table = new Map([...known, ...tune(model, { known })]);
  return own.concat(
    new OurDecoder(`${name} merged`, model, { dispatch: 'merged' }),
    new OurDecoder(`${name} auto`, model, { dispatch: 'auto', table }),
  );
}

async function rivalsOf({ rivals, ...context }: Context, variant: string, model: TransformerLM, ids: DecodeIds) {
  const pytorch = pytorchOf({ ...context, rivals });
  const onnx = rivals.find((rival): rival is Onnxruntime => rival instanceof Onnxruntime);
  const made: Contender[] = [];
  if (pytorch) made.push(await pytorchDecoder(pytorch, variant, model, ids));
  if (onnx) made.push(await onnxDecoder(onnx, variant, model, ids));
  return made;
}

interface Entry {
  readonly model: TransformerLM;
  readonly decoders: readonly OurDecoder[];
}

async function measure(context: Context, entries: readonly Entry[], load: DecodeLoad): Promise<void> {
  const ids = decodeIds(load, entries[0]!.model.config.vocabSize);
  const rivals = new Map<Contender, { model: TransformerLM; error: number }>();
  for (const { model, decoders } of entries) {
    for (const decoder of decoders) await decoder.load(ids);
    const [expected] = await decoders[0]!.outputs();
    for (const rival of await rivalsOf(context, decoders[0]!.variant, model, ids)) {
      const error = relativeError((await rival.outputs())[0]!, expected!);
      if (!(error < MOST_ERROR)) throw new Error(`${rival.side}, ${rival.variant}: logits differ by ${error}`);
      rivals.set(rival, { model, error });
    }
  }
  const ours = entries.flatMap(({ decoders }) => decoders);
  const samples = await interleave([...ours, ...rivals.keys()], context.sampling);
  for (const [contender, taken] of samples) {
    const rival = rivals.get(contender);
    const own = ours.find((decoder) => decoder === contender);
    const model = rival?.model ?? own!.model;
    const row: Omit<Result, 'phase' | 'median' | 'p25' | 'p75' | 'count'> = {
      suite: 'decode',
      op: 'decode',
      shape: `d${model.config.dModel} ${model.config.nLayers} layers`,
      tokens: load.batch,
      threads: getNumThreads(),
      isa: getIsa(),
      variant: contender.variant,
      side: contender.side,
      unit: 'ms',
      flops: model.flopsPerToken(load.context).total * load.batch,
      bytes: own?.bytes(load) ?? 0,
      error: rival?.error ?? null,
    };
    const sorted = [...taken].sort((a, b) => a - b);
    context.add([
      { ...row, phase: `context ${load.context}`, ...summarize(taken) },
      { ...row, phase: `context ${load.context}, 95th percentile`, ...exactly(quantile(sorted, 0.95)) },
    ]);
  }
  for (const rival of rivals.keys()) await rival.close();
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
      const entries = modelVariants(context).map((variant): Entry => {
        const model = createModel(variant, config);
        return { model, decoders: decodersOf(variant, model) };
      });
      for (const load of loads(context, config.seqLen)) await measure(setting, entries, load);
      for (const { model, decoders } of entries) {
        for (const decoder of decoders) await decoder.close();
        model.dispose();
      }
    });
  },
};
