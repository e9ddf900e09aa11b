/** Runs a model on new tokens only: one native call for a step, with any number of sequences. */

import type { Handle } from '../../types/native';
import type { Device } from '../device';
import {
  checkAlive,
  checkChoice,
  checkFunction,
  checkInstance,
  checkInteger,
  checkNumber,
  checkNumbers,
  fromNative,
  IndexError,
  OptionError,
  SffnError,
} from '../errors';
import { firstNotFinite } from '../io/finite';
import { asyncKernels } from '../kernels';
import { TransformerLM } from '../nn';
import { checkKeys, isObject, type OptionNames } from '../options';
import { Storage } from '../storage';
import { CACHE_DTYPES, type CacheDType, DecodeSequence, PagePool } from './cache';
import { Dispatcher, type DispatchMode, type DispatchStats, MODES } from './dispatch';
import { ACTIVATION_DTYPES, type ActivationDType, WEIGHT_DTYPES, type WeightDType } from './matrix';
import { DecoderModel } from './model';
import type { CrossoverTable } from './table';
import type { WeightSource } from './weights';

/** Options of `Decoder`. */
export interface DecoderOptions {
  /** The type of the weights. Default: float32, which needs no copy. */
  readonly dtype?: WeightDType;
  /** The type of cached keys and values: bfloat16, on the CPU only, takes half the memory. Default: float32. */
  readonly cacheDtype?: CacheDType;
  /**
   * int8: the rows of every product with int8 weights are rounded to int8, each with its own scale. Prompts and large batches
   * are faster, and a little is lost. Only on the CPU. Default: float32.
   */
  readonly activations?: ActivationDType;
  /** How structured layers are computed: by factors, merged, or as `table` says is faster. Default: factored. */
  readonly dispatch?: DispatchMode;
  /** For `auto`: measurements of this machine (`loadTable`, `tune`). */
  readonly table?: CrossoverTable;
  /** Most bytes of merged copies. Default: no limit. */
  readonly mergeBudget?: number;
  /** Most tokens of a prompt in one native call. Default: 256. */
  readonly prefillChunk?: number;
}

export const DECODER_OPTIONS: OptionNames<DecoderOptions> = {
  dtype: 0,
  cacheDtype: 0,
  activations: 0,
  dispatch: 0,
  table: 0,
  mergeBudget: 0,
  prefillChunk: 0,
};

/** The values of the options. @throws {OptionError} */
export function checkDecoderOptions(options: DecoderOptions): void {
  const { dtype, cacheDtype, activations, dispatch, table, mergeBudget, prefillChunk } = options;
  if (dtype !== undefined) checkChoice('decoder: dtype', dtype, WEIGHT_DTYPES);
  if (cacheDtype !== undefined) checkChoice('decoder: cacheDtype', cacheDtype, CACHE_DTYPES);
  if (activations !== undefined) checkChoice('decoder: activations', activations, ACTIVATION_DTYPES);
  if (dispatch !== undefined) checkChoice('decoder: dispatch', dispatch, MODES);
  if (prefillChunk !== undefined) checkInteger('decoder: prefillChunk', prefillChunk);
  if (mergeBudget !== undefined) checkNumber('decoder: mergeBudget', mergeBudget, 0);
  if (dispatch === 'auto' && !table)
    throw new OptionError('decoder: table', "a table for dispatch 'auto' (loadTable, tune)", table);
}

/** New tokens of one sequence. */
export interface StepEntry {
  /** Which sequence. */
  readonly sequence: DecodeSequence;
  /** Its new tokens. */
  readonly ids: ArrayLike<number>;
  /** Wanted rows of logits, those of the last tokens. Default: 1. */
  readonly logits?: number;
}

/** An entry that was checked, and copied. */
interface CheckedEntry {
  readonly sequence: DecodeSequence;
  readonly ids: readonly number[];
  readonly logits: number;
}

/** What a decoder holds and has done. */
export interface DecoderStats {
  /** How structured layers were computed. */
  readonly dispatch: DispatchStats;
  /** Bytes of all weights, merged copies included. */
  readonly weightBytes: number;
  /** Bytes of keys and values, free pages included. */
  readonly cacheBytes: number;
}

/**
 * Runs a model with the keys and values of earlier tokens kept in pages.
 *
 * @example
 * using decoder = new Decoder(model, { dtype: 'int8' });
 * for await (const id of generate(decoder, tokenizer.encode('Once'), { maxNewTokens: 50, temperature: 0.8 }))
 *   process.stdout.write(tokenizer.decode([id]));
 */
export class Decoder implements Disposable {
  /** Config of the model. */
  readonly config: TransformerLM['config'];
  /** How the weights are kept. */
  readonly dtype: WeightDType;
  /** How keys and values are kept. */
  readonly cacheDtype: CacheDType;
  /** How products take their rows. */
  readonly activations: ActivationDType;
  /** Most tokens of a prompt in one native call. */
  readonly prefillChunk: number;
  readonly #model: DecoderModel;
  readonly #pool: PagePool;
  readonly #dispatcher: Dispatcher;
  #disposed = false;

  /**
   * The model's own weights are used where possible: do not dispose or train it while the decoder is in use.
   * @throws {OptionError} for a `cacheDtype` of bfloat16 on CUDA.
   */
  constructor(model: TransformerLM, options?: DecoderOptions);
  /** @internal With weights from elsewhere, of which the model says the names and sizes. */
  constructor(model: TransformerLM, options: DecoderOptions, weights: WeightSource);
  constructor(model: TransformerLM, options: DecoderOptions = {}, weights?: WeightSource) {
    checkKeys('Decoder', options, DECODER_OPTIONS);
    checkInstance('Decoder: model', model, TransformerLM);
    checkDecoderOptions(options);
    const { dtype = 'float32', cacheDtype = 'float32', activations = 'float32' } = options;
    const { dispatch = 'factored', prefillChunk = 256 } = options;
    const { device } = weights ?? model.embedding.weight;
    if (cacheDtype !== 'float32' && device !== 'cpu')
      throw new OptionError(
        'decoder: cacheDtype',
        `float32 on device '${device}' (keys and values of other types are on 'cpu')`,
        cacheDtype,
      );
    this.#model = new DecoderModel(model, dtype, activations, weights);
    this.config = model.config;
    this.dtype = dtype;
    this.cacheDtype = cacheDtype;
    this.activations = activations;
    this.prefillChunk = prefillChunk;
    this.#pool = new PagePool(this.#model.cacheElements, cacheDtype, this.device, model.config.seqLen);
    this.#dispatcher = new Dispatcher(this.#model, dispatch, options.table, options.mergeBudget);
  }

  /** Where the model is, and the cache. */
  get device(): Device {
    return this.#model.device;
  }

  /** An empty sequence; dispose it to give its pages back. */
  sequence(): DecodeSequence {
    this.#checkAlive();
    return new DecodeSequence(this.#pool);
  }

  /** What it holds and has done so far. */
  stats(): DecoderStats {
    this.#checkAlive();
    return {
      dispatch: this.#dispatcher.stats(),
      weightBytes: this.#model.bytes,
      cacheBytes: this.#pool.bytes,
    };
  }

  /**
   * Feeds each sequence its new tokens. Returns the wanted rows of logits, sequence by sequence. After an error the
   * sequences are as before.
   * @throws {OptionError} when a sequence would become longer than the context, has a step in progress, comes twice or is
   * another decoder's. @throws {IndexError} for an id outside the vocabulary. @throws {DisposedError} when a weight of the
   * model was disposed or replaced. @throws {SffnError} (ERR_NOT_FINITE) for logits that are not finite.
   */
  async step(entries: readonly StepEntry[]): Promise<Float32Array[]> {
    this.#checkAlive();
    if (!Array.isArray(entries)) throw new OptionError('decoder: entries', 'an array of sequences and ids', entries);
    const texts = Array.from(entries as readonly StepEntry[], (entry) => this.#checked(entry));
    if (new Set(texts.map(({ sequence }) => sequence)).size < texts.length)
      throw new OptionError('decoder: entries', 'different sequences', 'one of them twice');
    const { model, pages, ids, sequences, rows } = this.#prepare(texts);
    using logits = new Storage(rows * this.config.vocabSize, 'float32', this.#model.device);
    for (const { sequence } of texts) sequence.busy = true;
    try {
      await asyncKernels.decode_step({ model, pages, ids, sequences, logits });
    } catch (error) {
      throw fromNative(error);
    } finally {
      for (const { sequence } of texts) sequence.busy = false;
    }
    const all = logits.toArray();
    checkRows(all, texts, this.config.vocabSize);
    for (const { sequence, ids } of texts) if (!sequence.disposed) sequence.advance(ids.length);
    const { vocabSize } = this.config;
    return Array.from({ length: rows }, (_, i) => all.subarray(i * vocabSize, (i + 1) * vocabSize));
  }

  /**
   * Feeds a prompt in chunks. Returns the logits after its last token. Calls `stopped` between chunks; it may throw.
   */
  async prefill(
    sequence: DecodeSequence,
    ids: ArrayLike<number>,
    stopped: () => void = () => {},
  ): Promise<Float32Array> {
    this.#checkAlive();
    checkFunction('decoder: stopped', stopped);
    checkNumbers('decoder: prompt', ids);
    if (ids.length === 0) throw new OptionError('decoder: prompt', 'at least one token', 'none');
    const { ids: all } = this.#checked({ sequence, ids });
    for (let at = 0; ; at += this.prefillChunk) {
      stopped();
      const chunk = all.slice(at, at + this.prefillChunk);
      const last = at + chunk.length === all.length;
      const [logits] = await this.step([{ sequence, ids: chunk, logits: last ? 1 : 0 }]);
      if (last && logits) return logits;
    }
  }

  /** Gives the memory back that the decoder owns; the model stays. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#model.dispose();
    this.#pool.dispose();
  }

  /** The same, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkAlive(): void {
    checkAlive('decoder', this.#disposed);
  }

  /** A copy: what the caller's object says the second time may be something else. */
  #checked(entry: StepEntry): CheckedEntry {
    if (!isObject(entry)) throw new OptionError('decoder: entries', 'objects of a sequence and ids', entry);
    const { sequence, ids: given, logits = 1 } = entry;
    checkInstance('decoder: sequence', sequence, DecodeSequence);
    checkNumbers('decoder: ids', given);
    const ids = Array.from(given);
    const { vocabSize, seqLen } = this.config;
    checkAlive('decoder: sequence', sequence.disposed);
    if (!sequence.isOf(this.#pool))
      throw new OptionError('decoder: sequence', 'a sequence of this decoder', 'one of another');
    if (sequence.busy) throw new OptionError('decoder: sequence', 'one without a step in progress', 'one in a step');
    if (ids.length === 0) throw new OptionError('decoder: ids', 'at least one token', 'none');
    if (sequence.length + ids.length > seqLen)
      throw new OptionError(
        'decoder: ids',
        `at most ${seqLen - sequence.length} more tokens in a context of ${seqLen}`,
        ids.length,
      );
    for (const id of ids)
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
        throw new IndexError('decoder: ids', `ids below ${vocabSize}`, id);
    checkInteger('decoder: logits', logits, 0);
    if (logits > ids.length) throw new OptionError('decoder: logits', `at most ${ids.length} rows`, logits);
    return { sequence, ids, logits };
  }

  #prepare(entries: readonly CheckedEntry[]) {
    // One by one: as arguments of push, the ids of a long chunk would overflow the stack.
    const pages: Handle[] = [];
    const ids: number[] = [];
    const sequences: number[] = [];
    let rows = 0;
    for (const { sequence, ids: fresh, logits } of entries) {
      sequences.push(sequence.length, fresh.length, logits);
      for (const page of sequence.reserve(fresh.length)) {
        sequences.push(pages.length);
        pages.push(page);
      }
      for (const id of fresh) ids.push(id);
      rows += logits;
    }
    const model = this.#dispatcher.bound(ids.length);
    return { model, rows, pages, ids: Int32Array.from(ids), sequences: Int32Array.from(sequences) };
  }
}

/** @throws {SffnError} naming the place in its text of the first row that is not finite. */
function checkRows(logits: Float32Array, texts: readonly CheckedEntry[], vocabSize: number): void {
  const bad = firstNotFinite(logits);
  if (bad < 0) return;
  let row = Math.floor(bad / vocabSize);
  for (const { sequence, ids, logits: rows } of texts) {
    if (row < rows) {
      const place = sequence.length + ids.length - rows + row;
      throw new SffnError(
        'ERR_NOT_FINITE',
        `decoder: the logits after token ${place} of a sequence are not finite: that of id ${bad % vocabSize} is ${logits[bad]}`,
      );
    }
    row -= rows;
  }
}
