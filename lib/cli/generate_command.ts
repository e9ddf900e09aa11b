/** `structured-ffn generate`. */
import { Generator } from '../random';
import { StreamingDecoder } from '../text';
import { generate, loadModel } from '../train';
import { tokenizerOf } from './tokenizer_option';

export interface GenerateCommandOptions {
  readonly prompt: string;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly seed: number;
}

export function generateCommand(checkpoint: string, options: GenerateCommandOptions): void {
  const { prompt, maxNewTokens, temperature, topK, seed } = options;
  const { model, tokenizerFile } = loadModel(checkpoint);
  const tokenizer = tokenizerOf(tokenizerFile);
  const decoder = new StreamingDecoder(tokenizer);
  const ids = generate(model, tokenizer.encode(prompt), {
    maxNewTokens,
    temperature,
    topK,
    generator: new Generator(seed),
    stopId: tokenizer.endOfText,
  });
  process.stdout.write(prompt);
  for (const id of ids) process.stdout.write(decoder.push(id));
  process.stdout.write(`${decoder.end()}\n`);
}
