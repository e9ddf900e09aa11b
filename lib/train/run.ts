/** A whole run: steps, evaluations and checkpoints, reported as events. */
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { checkPath, checkSignal, FileError, OptionError } from '../errors';
import { realPath, uniquePart } from '../io/files';
import { lock } from '../io/lock';
import { checkPlace } from '../io/store';
import type { FfnParameters, FlopsPerToken } from '../nn';
import { checkKeys, isObject } from '../options';
import { checkChanges, type RunChanges } from './changes';
import { checkTrainConfig, type StepPlan, type TrainConfig } from './config';
import type { Evaluation } from './evaluate';
import { type RunFlops, runFlops } from './flops';
import { DivergedError, type StepReport, TRAINER_OPTIONS, Trainer, type TrainerOptions } from './trainer';

/** The cost of the model, reported once at the start. */
export interface ModelReport {
  /** Trained values, guides included. */
  readonly parameters: number;
  /** Parameters of the feedforward networks, as they are and if they were dense. */
  readonly ffnParameters: FfnParameters;
  /** Floating-point operations per token, forward. */
  readonly flopsPerToken: FlopsPerToken;
  /** Operations of the steps that are left. */
  readonly flops: RunFlops;
}

/** What a run tells as it goes on. */
export type TrainEvent = StartEvent | StepEvent | EvaluationEvent | CheckpointEvent | WarningEvent | EndEvent;

/** The first event. */
export interface StartEvent extends ModelReport {
  /** Which event this is. */
  readonly type: 'start';
  /** Steps taken before, by the run that this one goes on from. */
  readonly firstStep: number;
  /** Steps of the run by their kind. */
  readonly plan: StepPlan;
}

/** A step was taken. */
export interface StepEvent extends StepReport {
  /** Which event this is. */
  readonly type: 'step';
}

/** The validation loss. */
export interface EvaluationEvent extends Evaluation {
  /** Which event this is. */
  readonly type: 'evaluation';
  /** Steps taken. */
  readonly step: number;
  /** Whether it is that of the end, on the whole file. */
  readonly final: boolean;
}

/** A checkpoint was written. */
export interface CheckpointEvent {
  /** Which event this is. */
  readonly type: 'checkpoint';
  /** Steps taken. */
  readonly step: number;
  /** Where it is. */
  readonly folder: string;
}

/** Something failed, and the run goes on. */
export interface WarningEvent {
  /** Which event this is. */
  readonly type: 'warning';
  /** Steps taken. */
  readonly step: number;
  /** What failed. */
  readonly message: string;
}

/** The last event. */
export interface EndEvent {
  /** Which event this is. */
  readonly type: 'end';
  /** Steps taken. */
  readonly step: number;
  /** `finished`: all steps were taken. `stopped`: the config's patience was over. `aborted`: by the signal. */
  readonly reason: 'finished' | 'aborted' | 'stopped';
  /** Operations of the steps that were taken since the start event. */
  readonly flops: RunFlops;
}

/** A new run, or one that goes on from a checkpoint folder. */
export type RunSource =
  | {
      /** What the run is. */
      readonly config: TrainConfig;
    }
  | {
      /** A checkpoint folder. */
      readonly resume: string;
      /** New values for the run. Default: none. */
      readonly changes?: RunChanges;
    };

/** @throws {OptionError} */
export function checkSource(where: string, source: unknown): asserts source is RunSource {
  if (!isObject(source) || !('config' in source || 'resume' in source))
    throw new OptionError(`${where}: source`, 'a config, or a checkpoint to resume', source);
  if (!('resume' in source)) return checkTrainConfig(source.config as TrainConfig);
  checkPath(`${where}: resume`, source.resume);
  if (source.changes !== undefined) checkChanges(`${where}: changes`, source.changes);
}

/** Options of `train` and `trainInWorker`. */
export interface RunOptions {
  /** When it aborts, the current step is finished, a checkpoint is written, and the run ends. */
  readonly signal?: AbortSignal;
}

/** Milliseconds. */
const SECOND = 1000;
/** The default pace: after this time, or after this many steps once they have taken some time. */
const DEFAULT_PACE = { steps: 200, soonest: 30 * SECOND, latest: 300 * SECOND };

/** Says when something is due next. */
class Pace {
  #step: number;
  #time = performance.now();

  constructor(
    /** Steps between two; undefined: the default pace. */
    readonly every: number | undefined,
    firstStep: number,
  ) {
    this.#step = firstStep;
  }

  isDue(step: number): boolean {
    const passed = performance.now() - this.#time;
    const { steps, soonest, latest } = DEFAULT_PACE;
    const due =
      this.every === undefined
        ? passed >= latest || (passed >= soonest && step - this.#step >= steps)
        : step % this.every === 0;
    if (due) [this.#step, this.#time] = [step, performance.now()];
    return due;
  }
}

type SaveEvent = CheckpointEvent | WarningEvent;

/** A checkpoint that fails is reported, and the run goes on; the previous checkpoint still exists. */
function save(trainer: Trainer, folder: string): SaveEvent {
  const { step } = trainer;
  try {
    trainer.save(folder);
    return { type: 'checkpoint', step, folder };
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { type: 'warning', step, message: `${error.message}; the checkpoint before this one stays` };
  }
}

/** The last checkpoint of a run: if it cannot be written in its place it goes to another. */
function* saveLast(trainer: Trainer, folder: string): Generator<SaveEvent> {
  const { step } = trainer;
  const name = `structured-ffn-${uniquePart()}`;
  let first: unknown;
  for (const place of [folder, ...[tmpdir(), homedir()].map((other) => join(other, name, 'checkpoint'))])
    try {
      trainer.save(place);
      if (first !== undefined)
        yield { type: 'warning', step, message: `${(first as Error).message}; saved to ${place} instead` };
      yield { type: 'checkpoint', step, folder: place };
      return;
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      first ??= error;
    }
  throw first;
}

/** Where a checkpoint goes, also when a link on the way, such as runs/latest, leads elsewhere later. */
function placeOf(checkpoint: string): string {
  const path = resolve(checkpoint);
  return join(realPath(dirname(path)), basename(path));
}

/** Where the model with the lowest loss goes. */
const bestPlace = (folder: string): string => `${folder}-best`;

const isPatienceOver = ({ best, config: { patience } }: Trainer): boolean =>
  patience !== undefined && best !== null && best.evaluationsSince >= patience;

/** Bytes of a checkpoint: each parameter with two moments. */
const checkpointBytes = ({ model }: Trainer): number => 12 * model.numParameters();

/**
 * Trains in this thread. A run that continues from a checkpoint saves to that one.
 * @throws {DivergedError} @throws {FileError} before the first step if the checkpoint cannot be written in its place,
 * or another run saves to it. @throws what Trainer throws.
 */
export async function* train(source: RunSource, options: RunOptions & TrainerOptions = {}): AsyncGenerator<TrainEvent> {
  checkKeys('train', options, { ...TRAINER_OPTIONS, signal: 0 });
  checkSource('train', source);
  const { signal, ...own } = options;
  if (signal !== undefined) checkSignal('train: signal', signal);
  const given = 'resume' in source ? source.resume : source.config.checkpoint;
  const folder = given === undefined ? undefined : placeOf(given);
  using _ = folder === undefined ? null : lock(folder, 0, `${folder}.run`);
  using trainer =
    'resume' in source
      ? Trainer.resume(source.resume, { ...own, changes: source.changes })
      : new Trainer(source.config, own);
  if (folder !== undefined) checkPlace(folder, checkpointBytes(trainer));
  if (folder !== undefined && trainer.config.keepBest) checkPlace(bestPlace(folder), checkpointBytes(trainer));
  const { config, plan, model } = trainer;
  const firstStep = trainer.step;
  yield {
    type: 'start',
    firstStep,
    plan,
    parameters: model.numParameters(),
    ffnParameters: model.ffnParameters(),
    flopsPerToken: model.flopsPerToken(config.seqLen),
    flops: runFlops(config, firstStep),
  };
  const hasValidation = config.data.validation !== undefined;
  const evaluations = new Pace(config.evalEvery, trainer.step);
  const saves = new Pace(config.saveEvery, trainer.step);
  let savedStep = -1;
  let stopped = false;
  try {
    for await (const report of trainer.steps({ signal })) {
      yield { type: 'step', ...report };
      const { step } = report;
      if (step === plan.total) break;
      if (hasValidation && evaluations.isDue(step)) {
        const evaluation = await trainer.evaluate({ maxRows: config.evalRows ?? 64 });
        yield { type: 'evaluation', step, final: false, ...evaluation };
        if (trainer.judge(evaluation.loss) && config.keepBest && folder !== undefined)
          yield save(trainer, bestPlace(folder));
        stopped = isPatienceOver(trainer);
      }
      if (folder !== undefined && saves.isDue(step)) {
        const event = save(trainer, folder);
        if (event.type === 'checkpoint') savedStep = step;
        yield event;
      }
      if (stopped) break;
    }
  } catch (error) {
    // The steps before the failed one are good, unless training went out of bounds.
    if (folder !== undefined && !(error instanceof DivergedError) && trainer.step > savedStep)
      yield* saveLast(trainer, folder);
    throw error;
  }
  if (folder !== undefined) yield* saveLast(trainer, folder);
  if (hasValidation && (trainer.finished || stopped))
    yield { type: 'evaluation', step: trainer.step, final: true, ...(await trainer.evaluate()) };
  yield {
    type: 'end',
    step: trainer.step,
    reason: trainer.finished ? 'finished' : stopped ? 'stopped' : 'aborted',
    flops: runFlops(config, firstStep, trainer.step),
  };
}
