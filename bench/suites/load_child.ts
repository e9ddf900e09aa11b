/** One checkpoint in a separate process, from the file to the logits of one token. */
import { loadDecoder } from '../../lib/decode';
import { watchGrowth } from '../harness/process_memory';
import type { LoadTask, LoadUse } from './load_task';

process.once('message', async ({ path }: LoadTask) => {
  const growth = watchGrowth();
  const start = performance.now();
  using decoder = loadDecoder(path).decoder;
  using sequence = decoder.sequence();
  await decoder.prefill(sequence, [1]);
  const use: LoadUse = { milliseconds: performance.now() - start, peak: growth() };
  process.send?.(use, () => process.disconnect());
});
