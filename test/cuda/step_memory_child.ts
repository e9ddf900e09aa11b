/** What process.test.ts runs in a process of its own: how much memory kinds of steps of decoding hold. */
import { memoryStats } from '../../lib';
import { Decoder } from '../../lib/decode';
import { TransformerLM } from '../../lib/nn';

/** Bytes that a device has in use. */
export interface StepMemory {
  readonly before: number;
  /** After each of three steps of 16 texts. */
  readonly large: readonly number[];
  /** After steps of 1 to 8 texts, all of which took the place of the large one. */
  readonly small: number;
  /** By a step for each of its tokens. */
  readonly needed: number;
}

const [WIDTH, VOCABULARY, TOKENS] = [64, 500, 16];

async function main(): Promise<void> {
  const config = { dModel: WIDTH, nLayers: 2, nHeads: 2, vocabSize: VOCABULARY, dFF: 4 * WIDTH, seqLen: 40 };
  using decoder = new Decoder(new TransformerLM(config).to('cuda').eval());
  const sequences = Array.from({ length: TOKENS }, () => decoder.sequence());
  const heldAfter = async (tokens: number, logits = 1): Promise<number> => {
    const texts = sequences.slice(0, tokens);
    await decoder.step(texts.map((sequence, i) => ({ sequence, ids: [7], logits: i === 0 ? 1 : logits })));
    for (const sequence of texts) sequence.rewind(0);
    return memoryStats('cuda').allocated;
  };
  // Pages and tables of positions are there from now on. Not every text wants logits: such a step is not repeated.
  const before = await heldAfter(TOKENS, 0);
  const large = [await heldAfter(TOKENS), await heldAfter(TOKENS), await heldAfter(TOKENS)];
  let small = 0;
  for (let tokens = 1; tokens <= 8; tokens++) {
    await heldAfter(tokens);
    small = await heldAfter(tokens);
  }
  // Id, position, table and wanted row, and the pages of 256 tokens; x, its norm and the attended values, queries with
  // keys and values, statistics of norms, features before and after the activation, logits.
  const needed = 8 * (4 + 8) + 4 * (3 * WIDTH + 3 * WIDTH + 2 + 4 * WIDTH + 4 * WIDTH + VOCABULARY);
  console.log(JSON.stringify({ before, large, small, needed } satisfies StepMemory));
}

main();
