/** Checks what a run needs from its machine and its files, before the first step. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { TokenFile } from '../data';
import { FormatError, formatShape, IndexError, OptionError } from '../errors';
import type { TensorData } from '../io';
import { countParameters } from '../nn';
import type { Tensor } from '../tensor';
import { isBestLoss } from './best';
import { checkTrainConfig, planSteps, type TrainConfig } from './config';
import type { TrainerState } from './load_model';
import { isSkipState } from './skipping';

/** Bytes that this process may have. */
function machineMemory(): number {
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

const gigabytes = (bytes: number): string =>
  `${(bytes / 1e9).toLocaleString('en', { maximumSignificantDigits: 3 })} GB`;

/**
 * @param memory available bytes. Default: those of this machine.
 * @throws {OptionError} for a run that needs more at the least, with advice on what would need less.
 */
export function checkMemory(config: TrainConfig, memory = machineMemory()): void {
  const { model, batchSize, seqLen = model.seqLen, device = 'cpu', guidance } = config;
  const { dModel, nLayers } = model;
  // On a device with separate memory, only the weights pass through the host's memory.
  const perParameter = device === 'cpu' ? 12 : 4;
  const tokens = batchSize * seqLen;
  const activations = tokens * 8 + (device === 'cpu' ? tokens * nLayers * 2 * dModel * 4 : 0);
  const check = (parameters: number) => {
    const state = parameters * perParameter;
    if (state + activations <= memory) return;
    const advice =
      activations > state
        ? 'a smaller batchSize with more gradientAccumulation, or a smaller seqLen, needs less'
        : 'a smaller model (vocabSize, dModel, nLayers) needs less';
    throw new OptionError(
      `train: this run needs at least ${gigabytes(state + activations)} of memory (${gigabytes(state)} for weights, ` +
        `gradients and moments, ${gigabytes(activations)} for activations); this machine has ${gigabytes(memory)}: ${advice}`,
    );
  };
  // First without the feedforward networks: choosing their sizes takes long if the model is absurdly large.
  check(countParameters({ ...model, dFF: 1, ffn: { structure: 'dense' } }).total);
  const { total, guides } = countParameters(model);
  check(total + (guidance ? guides : 0));
}

/** Larger files are checked as they are read. */
const MOST_BYTES = 1 << 29;

/** @throws {IndexError} for an id outside the vocabulary. */
export function checkIds(file: TokenFile, { model: { vocabSize } }: TrainConfig, most = MOST_BYTES): void {
  if (file.length * (file.dtype === 'uint16' ? 2 : 4) > most) return;
  let at = 0;
  for (const piece of file.pieces()) {
    for (let i = 0; i < piece.length; i++)
      if (piece[i]! >= vocabSize)
        throw new IndexError(`${file.path}: token ${at + i}`, `an id below ${vocabSize}, the vocabulary`, piece[i]);
    at += piece.length;
  }
}

/** @throws {FormatError} for too few tokens to evaluate on. @throws {IndexError} for an id outside the vocabulary. */
export function checkValidation(file: TokenFile, config: TrainConfig): void {
  const { model, seqLen = model.seqLen } = config;
  if (file.length < seqLen + 1)
    throw new FormatError(file.path, `${file.length} tokens are too few to evaluate on: one row takes ${seqLen + 1}`);
  checkIds(file, config, Number.POSITIVE_INFINITY);
}

type Where = (state: TrainerState) => unknown;

/** The whole numbers in trainer.json. */
const WHOLE: Readonly<Record<string, Where>> = {
  optimizerSteps: ({ optimizerSteps }) => optimizerSteps,
  'data.tokens': ({ data }) => (data === undefined ? 0 : data?.tokens),
  'data.crc32': ({ data }) => (data === undefined ? 0 : data?.crc32),
  'loader.row': ({ loader }) => loader?.row,
  'loader.generator.seed': ({ loader }) => loader?.generator?.seed,
  'loader.generator.offset': ({ loader }) => loader?.generator?.offset,
  'guidance.step': ({ guidance }) => (guidance ? guidance.step : 0),
  'guidance.generator.seed': ({ guidance }) => (guidance ? guidance.generator?.seed : 0),
  'guidance.generator.offset': ({ guidance }) => (guidance ? guidance.generator?.offset : 0),
};

/**
 * @param path of the checkpoint. @throws {FormatError} naming the value of its trainer.json that makes no sense.
 * @throws {OptionError} naming that of the run's config.
 */
export function checkState(path: string, state: TrainerState): void {
  checkTrainConfig(state.config);
  const file = join(path, 'trainer.json');
  const { total } = planSteps(state.config);
  if (!Number.isSafeInteger(state.step) || state.step < 0 || state.step > total)
    throw new FormatError(file, `step is ${JSON.stringify(state.step)}; expected a whole number from 0 to ${total}`);
  for (const [name, of] of Object.entries(WHOLE)) {
    const value = of(state);
    if (!Number.isSafeInteger(value) || (value as number) < 0)
      throw new FormatError(file, `${name} is ${JSON.stringify(value)}; expected a whole number of at least 0`);
  }
  for (const [name, path] of Object.entries({ ...state.data?.beside }))
    if (typeof path !== 'string')
      throw new FormatError(file, `data.beside.${name} is ${JSON.stringify(path)}; expected a path`);
  if (state.skipping !== undefined && !isSkipState(state.skipping))
    throw new FormatError(file, `skipping is ${JSON.stringify(state.skipping)}; expected a count and two windows`);
  if (state.best != null && !isBestLoss(state.best))
    throw new FormatError(file, `best is ${JSON.stringify(state.best)}; expected a loss and two counts`);
  if (state.changes !== undefined && !Array.isArray(state.changes))
    throw new FormatError(file, `changes is ${JSON.stringify(state.changes)}; expected a list`);
  if ((state.guidance !== null) !== (state.config.guidance !== undefined))
    throw new FormatError(file, 'it has the state of a guide without its config, or the config without its state');
}

/** @throws {FormatError} when the training tokens differ from those at the start of the run. */
export function checkSameData(file: TokenFile, { data }: TrainerState): void {
  if (data !== undefined && (data.tokens !== file.length || data.crc32 !== file.checksum()))
    throw new FormatError(file.path, 'its tokens differ from those at the start of the run');
}

/** @throws {FormatError} naming a moment whose shape differs from its parameter's, or a negative mean square. */
export function checkMoments(
  path: string,
  moments: ReadonlyMap<string, TensorData>,
  parameters: ReadonlyMap<string, Tensor>,
): void {
  for (const [name, { shape, data }] of moments) {
    const parameter = parameters.get(name.slice(0, name.lastIndexOf('.')));
    if (name.endsWith('.step')) {
      if (!data.every((count) => Number.isSafeInteger(count) && count >= 0))
        throw new FormatError(path, `'${name}' is ${data[0]}; expected a whole number of at least 0`);
    } else if (parameter && formatShape(parameter.shape) !== formatShape(shape))
      throw new FormatError(
        path,
        `'${name}' is ${formatShape(shape)}; its parameter is ${formatShape(parameter.shape)}`,
      );
    if (name.endsWith('.exp_avg_sq')) {
      const below = data.findIndex((value) => value < 0);
      if (below >= 0) throw new FormatError(path, `'${name}' is a mean of squares; element ${below} is ${data[below]}`);
    }
  }
}
