/** What process.test.ts runs in a process of its own: the first thing there is a step of decoding, again and again. */
import { Decoder } from '../../lib/decode';
import { TransformerLM } from '../../lib/nn';

async function main(): Promise<void> {
  const config = { dModel: 16, nLayers: 1, nHeads: 2, vocabSize: 20, seqLen: 8 };
  using decoder = new Decoder(new TransformerLM(config).to('cuda').eval());
  const rows: string[] = [];
  for (let i = 0; i < 3; i++) {
    using sequence = decoder.sequence();
    const [row] = await decoder.step([{ sequence, ids: [7] }]);
    rows.push(row!.join());
  }
  console.log(JSON.stringify({ same: new Set(rows).size === 1 }));
}

main();
