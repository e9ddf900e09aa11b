/** What transformers.js makes of exported folders: requests as JSON on standard input, answers on standard output. */
import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';

export interface ClientRequest {
  readonly folder: string;
  /** Texts of different lengths; for a folder without a tokenizer, ids of one length. */
  readonly prompts: readonly string[] | readonly (readonly number[])[];
  readonly newTokens: number;
}

export interface ClientAnswer {
  /** [batch, seq]: the prompts as the model got them, filled on the left. */
  readonly inputs: readonly (readonly number[])[];
  readonly mask: readonly (readonly number[])[];
  /** [batch, seq, vocabulary]. */
  readonly logits: readonly (readonly (readonly number[])[])[];
  /** The inputs and what follows. */
  readonly generated: readonly (readonly number[])[];
  /** Of the pipeline 'text-generation'; none without a tokenizer. */
  readonly texts: readonly string[];
}

const isTexts = (prompts: ClientRequest['prompts']): prompts is readonly string[] =>
  prompts.every((prompt) => typeof prompt === 'string');

/** Its types are those of an ES module, which only this way of importing has. */
const load = () => import('@huggingface/transformers');

type Client = Awaited<ReturnType<typeof load>>;
type ClientTensor = InstanceType<Client['Tensor']>;

const numbers = (tensor: ClientTensor): number[][] => tensor.tolist().map((row: bigint[]) => row.map(Number));

/** Ids [batch, seq] without padding. */
function bareInputs({ Tensor }: Client, rows: readonly (readonly number[])[]) {
  const int64 = (values: readonly number[]) =>
    new Tensor('int64', BigInt64Array.from(values, BigInt), [rows.length, rows[0]!.length]);
  return { input_ids: int64(rows.flat()), attention_mask: int64(rows.flat().map(() => 1)) };
}

async function answer(client: Client, { folder, prompts, newTokens }: ClientRequest): Promise<ClientAnswer> {
  client.env.allowRemoteModels = false;
  client.env.localModelPath = dirname(folder);
  const name = basename(folder);
  const options = { max_new_tokens: newTokens, do_sample: false };
  const model = await client.AutoModelForCausalLM.from_pretrained(name);
  const inputs = isTexts(prompts)
    ? (await client.AutoTokenizer.from_pretrained(name))([...prompts], { padding: true })
    : bareInputs(client, prompts);
  const { logits } = await model(inputs);
  const generated = (await model.generate({ ...inputs, ...options })) as ClientTensor;
  await model.dispose();
  return {
    inputs: numbers(inputs.input_ids),
    mask: numbers(inputs.attention_mask),
    logits: logits.tolist(),
    generated: numbers(generated),
    texts: isTexts(prompts) ? await textsOf(client, name, prompts, options) : [],
  };
}

async function textsOf({ pipeline }: Client, name: string, prompts: readonly string[], options: object) {
  const generator = await pipeline('text-generation', name);
  const results = (await generator([...prompts], options)) as unknown as { generated_text: string }[][];
  await generator.dispose();
  return results.map(([result]) => result!.generated_text);
}

async function main(): Promise<void> {
  const client = await load();
  const requests: ClientRequest[] = JSON.parse(readFileSync(0, 'utf8'));
  const answers: (ClientAnswer | string)[] = [];
  for (const request of requests) answers.push(await answer(client, request).catch((error: unknown) => String(error)));
  process.stdout.write(JSON.stringify(answers));
}

main();
