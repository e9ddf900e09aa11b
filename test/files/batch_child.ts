/**
 * Reads many changed files in this process. Its one argument is the JSON of a Batch. Prints how that went; the file `progress`
 * always has the number of the file that is read, for when this process does not live to tell.
 */
import {
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { loadCosts } from '../../lib/cuda/costs_file';
import { BatchLoader, readDocuments, TokenFile } from '../../lib/data';
import { convertWeights, loadDecoder, loadTable } from '../../lib/decode';
import { loadCheckpoint, loadSafetensors, type StoredDType, saveCheckpoint } from '../../lib/io';
import { TransformerLM } from '../../lib/nn';
import { loadTokenizer } from '../../lib/text';
import { loadModel, Trainer } from '../../lib/train';
import { TestRandom } from '../support/random';
import { type Change, changeBytes, JsonChanger } from './changes';

export interface Batch {
  readonly kind: string;
  readonly seed: number;
  readonly count: number;
  /** A good checkpoint. */
  readonly good: string;
  /** A folder for this batch alone. */
  readonly folder: string;
  readonly progress: string;
  /** What one file may take. */
  readonly budget: { readonly milliseconds: number; readonly megabytes: number };
}

export interface Report {
  readonly files: number;
  readonly refused: number;
  readonly milliseconds: number;
  readonly failures: readonly string[];
}

/** A file that gets changed, and what reads it. */
interface Kind {
  /** Good files to begin with. */
  readonly sources: (batch: Batch) => readonly string[];
  /** How they change: as JSON, as bytes. */
  readonly changes: readonly ('json' | 'bytes')[];
  /** The place of the changed file. */
  readonly path: (batch: Batch) => string;
  readonly read: (path: string) => void;
  /** Files that must be there, too. */
  readonly beside?: (batch: Batch) => void;
}

const FIXTURES = join(__dirname, '..', 'fixtures');
const files = (folder: string, ending: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name));

const TEXT = 'Once  upon a time, 12 345 naïve 日本語 <|endoftext|></s>\n\t😀';

const resume = (path: string) => Trainer.resume(dirname(path))[Symbol.dispose]();
const model = (path: string) => loadModel(dirname(path)).model.dispose();

/** A file of a checkpoint, among the others; without the manifest, which would give every change away. */
const inCheckpoint = (name: string, changes: Kind['changes'], read: Kind['read'], manifest = false): Kind => ({
  sources: ({ good }) => [join(good, name)],
  changes,
  path: ({ folder }) => join(folder, name),
  read,
  beside: ({ good, folder }) => {
    for (const file of readdirSync(good))
      if (manifest || file !== 'manifest.json') copyFileSync(join(good, file), join(folder, file));
  },
});

const alone = (name: string, sources: Kind['sources'], changes: Kind['changes'], read: Kind['read']): Kind => ({
  sources,
  changes,
  path: ({ folder }) => join(folder, name),
  read,
});

/** A file that is written here, because no good one is at hand. */
const written =
  (name: string, content: () => string | Uint8Array): Kind['sources'] =>
  ({ folder }) => {
    const path = join(folder, name);
    writeFileSync(path, content());
    return [path];
  };

/** The weights of a checkpoint that holds them as `dtype`: a decoder reads them without a model. */
const inDecoder = (dtype: StoredDType): Kind => {
  const path = ({ folder }: Batch) => join(folder, dtype, 'model.safetensors');
  return {
    sources: (batch) => {
      // That of the good checkpoint has guides, which no decoder has.
      const model = new TransformerLM(loadModel(batch.good).model.config);
      const folder = dirname(path(batch));
      saveCheckpoint(folder, { model: convertWeights(model, dtype), dtype, config: model.config });
      model.dispose();
      rmSync(join(folder, 'manifest.json'));
      return [path(batch)];
    },
    changes: ['bytes'],
    path,
    read: (changed) => loadDecoder(dirname(changed)).decoder[Symbol.dispose](),
  };
};

const KINDS: Readonly<Record<string, Kind>> = {
  safetensors: alone(
    'x.safetensors',
    ({ good }) => [...files(join(FIXTURES, 'reference'), '.safetensors'), ...files(good, '.safetensors')],
    ['bytes'],
    (path) => void loadSafetensors(path),
  ),
  'config.json': inCheckpoint('config.json', ['json', 'bytes'], model),
  'trainer.json': inCheckpoint('trainer.json', ['json', 'bytes'], resume),
  'manifest.json': inCheckpoint('manifest.json', ['json', 'bytes'], (path) => void loadCheckpoint(dirname(path)), true),
  'model.safetensors': inCheckpoint('model.safetensors', ['bytes'], resume),
  'bfloat16 weights': inDecoder('bfloat16'),
  'int8 weights': inDecoder('int8'),
  'optimizer.safetensors': inCheckpoint('optimizer.safetensors', ['bytes'], resume),
  'tokenizer.json': alone(
    'tokenizer.json',
    ({ folder }) =>
      files(join(FIXTURES, 'tokenizers'), '.json')
        .filter((path) => !path.endsWith('strings.json'))
        .map((path, i) => {
          const own = join(folder, `good-${i}.json`);
          writeFileSync(own, JSON.stringify(JSON.parse(readFileSync(path, 'utf8')).tokenizer));
          return own;
        }),
    ['json', 'json', 'bytes'],
    (path) => {
      const tokenizer = loadTokenizer(path);
      tokenizer.decode(tokenizer.encode(TEXT));
    },
  ),
  'tokens.bin': alone(
    'tokens.bin',
    written('good.bin', () => new Uint8Array(Uint16Array.from({ length: 300 }, (_, i) => i % 29).buffer)),
    ['bytes'],
    (path) => {
      const file = new TokenFile(path);
      try {
        new BatchLoader(file, { batchSize: 2, seqLen: 16, vocabSize: 29 }).next();
      } finally {
        file.close();
      }
    },
  ),
  'documents.txt': alone(
    'documents.txt',
    written('good.txt', () => TEXT.repeat(20)),
    ['bytes'],
    (path) => void readDocuments(path),
  ),
  'crossovers.json': alone(
    'crossovers.json',
    written('good.json', () =>
      JSON.stringify({
        format: 'structured-ffn crossovers',
        version: 1,
        machines: { a: { '[1,2,3]': [{ tokens: 1, factored: 0.5, merged: 0.25 }] } },
      }),
    ),
    ['json', 'bytes'],
    (path) => void loadTable(path),
  ),
  'costs.json': alone(
    'costs.json',
    written('good.json', () =>
      JSON.stringify({ format: 'structured-ffn gemm costs', version: 1, gpus: { a: { launch: 1, step: 2.5 } } }),
    ),
    ['json', 'bytes'],
    (path) => void loadCosts('a', path),
  ),
};

export const KIND_NAMES = Object.keys(KINDS);

/** Neither a refusal by an error of ours nor one that blames the caller. */
function faultOf(error: unknown): string | null {
  const { code, stack } = error as { code?: unknown; stack?: string };
  if (typeof code !== 'string' || !/^ERR_[A-Z_]+$/.test(code)) return stack ?? String(error);
  return /ERR_(INVALID|OUT_OF_RANGE|BUFFER|INTERNAL|ARGUMENT)/.test(code) ? (stack ?? code) : null;
}

async function run(batch: Batch): Promise<Report> {
  const { kind, seed, count, folder, budget } = batch;
  const { sources, changes, path: pathOf, read, beside } = KINDS[kind]!;
  mkdirSync(folder, { recursive: true });
  beside?.(batch);
  const good = sources(batch).map((path) => readFileSync(path));
  const asJson = changes.includes('json') ? good.map((bytes) => new JsonChanger(bytes)) : [];
  const path = pathOf(batch);
  const progress = openSync(batch.progress, 'w');
  const failures: string[] = [];
  let refused = 0;
  const start = performance.now();
  for (let i = 0; i < count && failures.length < 5; i++) {
    const random = new TestRandom(seed * 1_000_003 + i);
    const source = random.int(0, good.length - 1);
    const how = changes[random.int(0, changes.length - 1)]!;
    const { what, bytes }: Change =
      how === 'json' ? asJson[source]!.change(random) : changeBytes(good[source]!, random);
    writeFileSync(path, bytes);
    writeSync(progress, `${String(i).padStart(9)} ${what.slice(0, 80).padEnd(80)}`, 0);
    const began = performance.now();
    const { maxRSS } = process.resourceUsage();
    let fault: string | null = null;
    try {
      read(path);
    } catch (error) {
      fault = faultOf(error);
      refused++;
    }
    const milliseconds = performance.now() - began;
    const megabytes = (process.resourceUsage().maxRSS - maxRSS) / 1000;
    if (milliseconds > budget.milliseconds) fault ??= `${milliseconds} ms`;
    if (megabytes > budget.megabytes) fault ??= `${megabytes} MB`;
    if (fault !== null) failures.push(`seed ${seed}, file ${i}, source ${source}: ${what}: ${fault}`);
    if (i % 100 === 99) await nextTurn();
  }
  rmSync(folder, { recursive: true, force: true });
  return { files: count, refused, milliseconds: performance.now() - start, failures };
}

if (require.main === module)
  run(JSON.parse(process.argv[2] ?? '{}')).then(
    (report) => console.log(JSON.stringify(report)),
    (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
