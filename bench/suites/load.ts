/** Loading: from a checkpoint on disk to the first logits, in time and memory. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertWeights } from '../../lib/decode';
import { getIsa, getNumThreads } from '../../lib/device';
import { saveCheckpoint } from '../../lib/io';
import { TransformerLM } from '../../lib/nn';
import { precisions, wantsOp } from '../harness/context';
import { exactly } from '../harness/results';
import { PRECISIONS, sideOf } from '../harness/side';
import { summarize } from '../harness/statistics';
import { DENSE } from '../harness/variants';
import { measureLoad } from './load_task';
import { modelSize } from './models';
import type { Suite } from './suite';

const LAYERS = 12;

export const load: Suite = {
  name: 'load',
  about: 'a dense checkpoint from the file to the first logits: time, and memory beside the size of the file',
  async run(context) {
    if (!wantsOp(context, 'load')) return;
    const { dModel, nHeads, vocabSize } = modelSize(context);
    const nLayers = dModel < 256 ? 2 : LAYERS;
    const config = { dModel, nHeads, vocabSize, nLayers, seqLen: 1024 };
    const folder = mkdtempSync(join(tmpdir(), 'bench-load-'));
    try {
      for (const dtype of precisions(context, PRECISIONS)) {
        const path = join(folder, dtype);
        const model = new TransformerLM(config, { init: 'xavier' });
        saveCheckpoint(path, { model: convertWeights(model, dtype), dtype, config });
        model.dispose();
        // Brings the file into the system's cache.
        await measureLoad({ path });
        const uses = [];
        for (let round = 0; round < context.sampling.rounds; round++) uses.push(await measureLoad({ path }));
        const row = {
          ...{
            suite: 'load',
            op: 'load',
            shape: `d${dModel} ${nLayers} layers`,
            tokens: 1,
            side: sideOf({ device: 'cpu', dtype }),
            variant: DENSE.name,
          },
          ...{ threads: getNumThreads(), isa: getIsa(), flops: 0, error: null },
          bytes: statSync(join(path, 'model.safetensors')).size,
        };
        const [times, peaks] = [uses.map(({ milliseconds }) => milliseconds), uses.map(({ peak }) => peak)];
        context.add([
          { ...row, phase: 'first logits', unit: 'ms', ...summarize(times) },
          { ...row, phase: 'first logits, best', unit: 'ms', ...exactly(Math.min(...times)) },
          { ...row, phase: 'peak memory', unit: 'bytes', ...summarize(peaks) },
        ]);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
