// Text from a checkpoint that `structured-ffn train` wrote.
// Run: node examples/generate.mjs runs/demo/checkpoint "Fellow citizens"
import { Generator } from 'structured-ffn';
import { ByteTokenizer, loadTokenizer, StreamingDecoder } from 'structured-ffn/text';
import { generate, loadModel } from 'structured-ffn/train';

const [checkpoint, prompt = 'The'] = process.argv.slice(2);
if (checkpoint === undefined) throw new Error('usage: node examples/generate.mjs CHECKPOINT [PROMPT]');

const { model, tokenizerFile } = loadModel(checkpoint);
const tokenizer = tokenizerFile === undefined ? new ByteTokenizer() : loadTokenizer(tokenizerFile);
const decoder = new StreamingDecoder(tokenizer);
const options = { maxNewTokens: 80, temperature: 0.8, topK: 40, generator: new Generator(7) };

process.stdout.write(prompt);
for (const id of generate(model, tokenizer.encode(prompt), { ...options, stopId: tokenizer.endOfText }))
  process.stdout.write(decoder.push(id));
console.log(decoder.end());
