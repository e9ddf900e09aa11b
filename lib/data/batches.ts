/** Batches of token rows for training and evaluation. */
import { checkChoice, checkInstance, checkInteger, FormatError, IndexError, OptionError } from '../errors';
import { checkKeys, isObject } from '../options';
import { Generator, type GeneratorState } from '../random';
import { permutation } from './permutation';
import { ROW_ORDERS, type RowOrder } from './row_order';
import { TokenFile } from './token_file';

/** Options of `BatchLoader`. */
export interface BatchOptions {
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Tokens of a row. */
  readonly seqLen: number;
  /** Ids must be below this. */
  readonly vocabSize: number;
  /** Default: random. */
  readonly order?: RowOrder;
  /** Default: 0. */
  readonly seed?: number;
}

/** Rows of [batch, seq] ids; targets are the inputs moved on by one token. */
export interface Batch {
  /** Ids [rows, seqLen]. */
  readonly inputs: Int32Array;
  /** Ids [rows, seqLen], one token further. */
  readonly targets: Int32Array;
  /** Rows in this batch. */
  readonly rows: number;
}

/** The position of a loader; plain data for checkpoints. */
export interface LoaderState {
  /** Rows given out, where the order is not random. */
  readonly row: number;
  /** Where the draws stand, in random order. */
  readonly generator: GeneratorState;
}

/**
 * Training batches without end.
 *
 * @example
 * const loader = new BatchLoader(new TokenFile('train.bin'), { batchSize: 8, seqLen: 128, vocabSize: 257 });
 * const { inputs, targets, rows } = loader.next();
 */
export class BatchLoader {
  readonly #file: TokenFile;
  readonly #options: Required<BatchOptions>;
  #row = 0;
  /** Of the latest epoch. */
  #shuffle: { readonly epoch: number; readonly rowAt: (index: number) => number } | null = null;
  #generator: Generator;

  /** @throws {FormatError} when the file is too short for one row. */
  constructor(file: TokenFile, options: BatchOptions) {
    checkKeys('BatchLoader', options, { batchSize: 0, seqLen: 0, vocabSize: 0, order: 0, seed: 0 });
    checkInstance('BatchLoader: file', file, TokenFile);
    const { batchSize, seqLen, vocabSize, order = 'random', seed = 0 } = options;
    checkInteger('BatchLoader: batchSize', batchSize);
    checkInteger('BatchLoader: seqLen', seqLen);
    checkInteger('BatchLoader: vocabSize', vocabSize);
    checkChoice('BatchLoader: order', order, ROW_ORDERS);
    if (file.length < seqLen + 1)
      throw new FormatError(file.path, `${file.length} tokens are too few for one row of ${seqLen + 1}`);
    this.#file = file;
    this.#options = { batchSize, seqLen, vocabSize, order, seed };
    this.#generator = new Generator(seed);
  }

  /** The next batch. @throws {IndexError} for an id outside the vocabulary. */
  next(): Batch {
    const { batchSize, seqLen, vocabSize } = this.#options;
    const starts = Array.from({ length: batchSize }, () => this.#nextStart());
    return gatherRows(this.#file, starts, seqLen, vocabSize);
  }

  #nextStart(): number {
    const { order, seqLen } = this.#options;
    if (order === 'random') return this.#generator.nextInt(this.#file.length - seqLen);
    const rows = Math.floor((this.#file.length - 1) / seqLen);
    const [epoch, index] = [Math.floor(this.#row / rows), this.#row % rows];
    this.#row++;
    return (order === 'shuffled' ? this.#rowAt(epoch, index, rows) : index) * seqLen;
  }

  #rowAt(epoch: number, index: number, rows: number): number {
    if (this.#shuffle?.epoch !== epoch) this.#shuffle = { epoch, rowAt: permutation(rows, this.#options.seed, epoch) };
    return this.#shuffle.rowAt(index);
  }

  /** Where it stands, as plain data. */
  state(): LoaderState {
    return { row: this.#row, generator: this.#generator.state() };
  }

  /** Goes on from what `state()` gave. @throws {OptionError}: then it stands where it stood. */
  restore(state: LoaderState): void {
    if (!isObject(state)) throw new OptionError('BatchLoader: state', 'an object of row and generator', state);
    checkInteger('BatchLoader: state.row', state.row, 0);
    this.#generator = Generator.fromState(state.generator);
    this.#row = state.row;
  }
}

/**
 * Every token of the file except the first is a target exactly once, in rows of `seqLen`. A rest that does not fill a
 * row is left out. At most `maxRows` rows.
 */
export function evaluationBatches(
  file: TokenFile,
  options: Pick<BatchOptions, 'batchSize' | 'seqLen' | 'vocabSize'> & { maxRows?: number },
): Iterable<Batch> {
  checkKeys('evaluationBatches', options, { batchSize: 0, seqLen: 0, vocabSize: 0, maxRows: 0 });
  checkInstance('evaluationBatches: file', file, TokenFile);
  const { batchSize, seqLen, vocabSize, maxRows = Number.POSITIVE_INFINITY } = options;
  checkInteger('evaluationBatches: batchSize', batchSize);
  checkInteger('evaluationBatches: seqLen', seqLen);
  checkInteger('evaluationBatches: vocabSize', vocabSize);
  if (options.maxRows !== undefined) checkInteger('evaluationBatches: maxRows', options.maxRows);
  const rows = Math.min(Math.floor((file.length - 1) / seqLen), maxRows);
  if (rows < 1) throw new FormatError(file.path, `${file.length} tokens are too few for one row of ${seqLen + 1}`);
  return batchesOf(file, rows, options);
}

function* batchesOf(
  file: TokenFile,
  rows: number,
  { batchSize, seqLen, vocabSize }: Pick<BatchOptions, 'batchSize' | 'seqLen' | 'vocabSize'>,
): Iterable<Batch> {
  for (let row = 0; row < rows; row += batchSize) {
    const starts = Array.from({ length: Math.min(batchSize, rows - row) }, (_, i) => (row + i) * seqLen);
    yield gatherRows(file, starts, seqLen, vocabSize);
  }
}

function gatherRows(file: TokenFile, starts: readonly number[], seqLen: number, vocabSize: number): Batch {
  const inputs = new Int32Array(starts.length * seqLen);
  const targets = new Int32Array(starts.length * seqLen);
  starts.forEach((start, row) => {
    const tokens = file.read(start, seqLen + 1);
    const bad = tokens.findIndex((id) => id >= vocabSize);
    if (bad >= 0)
      throw new IndexError(
        `${file.path}: token ${start + bad}`,
        `an id below ${vocabSize}, the vocabulary`,
        tokens[bad],
      );
    inputs.set(tokens.subarray(0, seqLen), row * seqLen);
    targets.set(tokens.subarray(1), row * seqLen);
  });
  return { inputs, targets, rows: starts.length };
}
