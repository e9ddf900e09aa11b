// Generates text with a checkpoint that `structured-ffn train` wrote.
// Run: node examples/generate.mjs runs/demo/checkpoint "Fellow citizens"
import { generateText, loadDecoder } from 'structured-ffn/decode';
import { ByteTokenizer, loadTokenizer } from 'structured-ffn/text';

const [checkpoint, prompt = 'The'] = process.argv.slice(2);
if (checkpoint === undefined) throw new Error('usage: node examples/generate.mjs CHECKPOINT [PROMPT]');

const { decoder, tokenizerFile } = loadDecoder(checkpoint);
const tokenizer = tokenizerFile === undefined ? new ByteTokenizer() : loadTokenizer(tokenizerFile);

process.stdout.write(prompt);
for await (const piece of generateText(decoder, tokenizer, prompt, { maxNewTokens: 80, temperature: 0.8, seed: 7 }))
  process.stdout.write(piece);
console.log();
