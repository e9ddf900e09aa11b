/**
 * Writes the fixtures of hugging_face.test.ts: `node -r ./scripts/register_ts.cjs test/export/record_hf.ts`, with
 * STRUCTURED_FFN_PYTHON naming a Python that has torch.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportHuggingFace } from '../../lib/export';
import { FIXTURES, HF_CASES, torchLogits } from './hf_cases';
import { randomIds, randomModel } from './random_model';

for (const { name, config } of HF_CASES) {
  const folder = join(FIXTURES, name);
  rmSync(folder, { recursive: true, force: true });
  exportHuggingFace(randomModel(config), folder);
  const ids = randomIds(12, config.vocabSize);
  const logits = torchLogits(folder, [ids.slice(0, 6), ids.slice(6)]);
  writeFileSync(
    join(folder, 'logits.json'),
    `${JSON.stringify(logits.map((value) => Number(value.toPrecision(9))))}\n`,
  );
}
