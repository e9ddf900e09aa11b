/**
 * Training, step by step: loss, gradients, clipping, the optimizer, guidance, and everything needed to continue after a
 * stop.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BatchLoader, type LoaderState, TokenFile } from '../data';
import {
  checkAlive,
  checkFunction,
  checkInteger,
  checkNumber,
  checkPath,
  checkSignal,
  FormatError,
  OptionError,
  SffnError,
} from '../errors';
import { type Checkpoint, loadCheckpoint, saveCheckpoint, type TensorData } from '../io';
import { withFile } from '../io/files';
import { Guidance, releaseGuides, TransformerLM } from '../nn';
import { UNSET } from '../nn/init';
import type { Optimizer, Schedule } from '../optim';
import { checkKeys, type OptionNames } from '../options';
import { Generator } from '../random';
import { tidy } from '../scope';
import type { Tensor } from '../tensor';
import { type BestLoss, nextBest } from './best';
import { changedConfig, checkChanges, type RecordedChange, type RunChanges } from './changes';
import { checkIds, checkMemory, checkMoments, checkSameData, checkState, checkValidation } from './checks';
import { checkTrainConfig, mixing, planSteps, type StepPlan, type TrainConfig } from './config';
import { type Evaluation, evaluate } from './evaluate';
import { initialWeights } from './initial_weights';
import { type Launched, meanOf, StepLauncher } from './launch';
import { learningRateOf } from './learning_rate';
import { isTrainerState, loadWeights, type TrainerState, toTensors, withSizesOf } from './load_model';
import { checkedState, checkOptimizer, checkRead, createOptimizer, type OptimizerFactory } from './optimizer';
import { foundConfig, tokensBeside, withAbsolutePaths } from './paths';
import { Skipping } from './skipping';

/** One optimizer step. */
export interface StepReport {
  /** Counted from 1. */
  readonly step: number;
  /** Mean over the step's tokens, in nats, before the update. */
  readonly loss: number;
  /** Of this step. */
  readonly learningRate: number;
  /** Weight of the guides in this step; 0 without guidance. */
  readonly alpha: number;
  /** Global norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Tokens of all its passes. */
  readonly tokens: number;
  /** Whether its update was left out (`skip`). */
  readonly skipped: boolean;
  /** Over the wall-clock time of the step. */
  readonly tokensPerSecond: number;
}

/** Training went out of bounds: the loss or the gradients are no longer finite. The last checkpoint is untouched. */
export class DivergedError extends SffnError {
  constructor(step: number, what: string) {
    super('ERR_DIVERGED', `step ${step}: ${what}; a lower learning rate may help`);
  }
}

/** Options of `Trainer.resume`. */
export interface ResumeOptions extends TrainerOptions {
  /** New values for the run, kept in its checkpoints. Default: none. */
  readonly changes?: RunChanges;
}

/** What a trainer does that is not plain data, and so is not in checkpoints. */
export interface TrainerOptions {
  /** Makes the optimizer, instead of the config's. */
  readonly optimizer?: OptimizerFactory;
  /**
   * Called between the backward passes of a step and its clipping and update, with the parameters, whose `grad` it may
   * change. This is where several processes add their gradients. A parameter that takes no part in the step has no
   * gradient. Not with `recordSteps`.
   */
  readonly onGradients?: (parameters: ReadonlyMap<string, Tensor>) => void | Promise<void>;
}

export const TRAINER_OPTIONS: OptionNames<TrainerOptions> = { optimizer: 0, onGradients: 0 };

/** Seeds of everything that draws, apart from each other. */
const LOADER_SEED = 1;
const GUIDANCE_SEED = 2;

/**
 * A training run, one step a call.
 *
 * @example
 * using trainer = new Trainer(config);
 * for await (const { step, loss } of trainer.steps()) console.log(step, loss);
 * console.log((await trainer.evaluate()).loss);
 * trainer.save('runs/mine/checkpoint'); // Trainer.resume('runs/mine/checkpoint') goes on from there
 */
export class Trainer implements Disposable {
  /** The model in training. */
  readonly model: TransformerLM;
  /** Steps of the run by their kind. */
  readonly plan: StepPlan;
  readonly #optimizer: Optimizer;
  readonly #launcher: StepLauncher;
  readonly #guidance: Guidance | null;
  readonly #learningRate: Schedule;
  #changes: readonly RecordedChange[] = [];
  readonly #skipping: Skipping;
  #best: BestLoss | null = null;
  readonly #trainFile: TokenFile;
  readonly #validationFile: TokenFile | null = null;
  readonly #loader: BatchLoader;
  readonly #loaderStart: LoaderState;
  /** The tokenizer.json as it was at the start; its file may be gone by now. */
  readonly #tokenizer: Uint8Array | undefined;
  /** Checksum of the training tokens, computed at the first save. */
  #checksum: number | undefined;
  #step = 0;
  /** The method under way. */
  #busy: string | null = null;
  #disposed = false;

  /**
   * @param restored a checkpoint whose weights are about to be loaded into the model, as in `resume`.
   * @throws {OptionError | FileError | FormatError | IndexError} when the config, or a file that it names, is wrong,
   * and for a run that needs more memory than there is.
   */
  constructor(
    /** What the run is. */
    readonly config: TrainConfig,
    options: TrainerOptions = {},
    restored?: Checkpoint,
  ) {
    checkTrainConfig(config);
    checkKeys('Trainer', options, TRAINER_OPTIONS);
    const { optimizer, onGradients } = options;
    if (optimizer !== undefined) checkFunction('Trainer: optimizer', optimizer);
    if (onGradients !== undefined) checkFunction('Trainer: onGradients', onGradients);
    if (optimizer && config.optimizer !== undefined)
      throw new OptionError('Trainer: optimizer', 'none, as the config names one', optimizer);
    if (onGradients && config.recordSteps)
      throw new OptionError(
        'Trainer: onGradients',
        'none with recordSteps: a recorded step cannot call it',
        onGradients,
      );
    // A copy: what the caller does to its object later changes nothing.
    this.config = withAbsolutePaths(structuredClone(config));
    checkMemory(config);
    const { data, batchSize, seqLen = config.model.seqLen, seed = 0, guidance } = config;
    this.plan = planSteps(config);
    this.#skipping = new Skipping(config.skip ?? {});
    this.#trainFile = new TokenFile(data.train, data.dtype);
    const { vocabSize } = config.model;
    try {
      if (data.validation !== undefined) this.#validationFile = new TokenFile(data.validation, data.dtype);
      this.#loader = new BatchLoader(this.#trainFile, {
        batchSize,
        seqLen,
        vocabSize,
        order: data.order,
        seed: seed + LOADER_SEED,
      });
      this.#loaderStart = this.#loader.state();
      this.#guidance = guidance
        ? new Guidance({ ...mixing(guidance), steps: this.plan.guided, seed: seed + GUIDANCE_SEED })
        : null;
      checkIds(this.#trainFile, config);
      if (this.#validationFile) checkValidation(this.#validationFile, config);
      const { tokenizer } = this.config;
      const tokenizerFile = restored ? restored.tokenizerFile : tokenizer === 'byte' ? undefined : tokenizer;
      this.#tokenizer =
        tokenizerFile === undefined
          ? undefined
          : withFile('read', tokenizerFile, () => new Uint8Array(readFileSync(tokenizerFile)));
      const weights = restored?.model ?? initialWeights(this.config);
      this.model = new TransformerLM(weights ? withSizesOf(config.model, weights) : config.model, {
        ...(weights ? UNSET : { generator: new Generator(seed) }),
        guidance: this.#guidance ?? undefined,
      });
      if (weights && !restored) loadWeights(this.model, weights);
      this.model.to(config.device ?? 'cpu', config.precision ?? 'float32');
      const made: unknown = (optimizer ?? createOptimizer)(this.model, this.config);
      checkOptimizer(made);
      this.#optimizer = made;
      this.#launcher = new StepLauncher(this.model, this.#optimizer, this.#skipping, this.config, onGradients);
      this.#learningRate = learningRateOf(config);
    } catch (error) {
      this.#closeFiles();
      throw error;
    }
  }

  /**
   * A trainer that continues where the checkpoint was written, bit for bit with the same options and without changes.
   * @throws {FileError | FormatError} @throws {StateDictError} for the state of another optimizer.
   */
  static resume(folder: string, options: ResumeOptions = {}): Trainer {
    checkKeys('Trainer.resume', options, { ...TRAINER_OPTIONS, changes: 0 });
    const { changes = {}, ...own } = options;
    checkChanges('Trainer.resume: changes', changes);
    const restored = loadCheckpoint(folder);
    const { trainer: state, model, optimizer } = restored;
    if (!isTrainerState(state) || optimizer === undefined)
      throw new FormatError(folder, 'it holds only a model and cannot continue a training run');
    checkState(folder, state);
    const { config, change } = changedConfig(foundConfig(state, folder), changes, state.step);
    const trainer = new Trainer(config, own, restored);
    try {
      checkSameData(trainer.#trainFile, state);
      trainer.#restore(folder, state, model, optimizer);
      trainer.#changes = [...(state.changes ?? []), ...(change ? [change] : [])];
    } catch (error) {
      trainer[Symbol.dispose]();
      throw error;
    }
    return trainer;
  }

  #restore(
    folder: string,
    state: TrainerState,
    model: ReadonlyMap<string, TensorData>,
    optimizer: ReadonlyMap<string, TensorData>,
  ): void {
    if (state.guidance) this.#guidance?.restore(state.guidance);
    if (this.#guidance?.finished) this.#optimizer.remove(releaseGuides(this.model));
    this.#step = state.step;
    this.#loader.restore(state.loader);
    this.#best = state.best ?? null;
    if (state.skipping) this.#skipping.restore(state.skipping);
    checkMoments(join(folder, 'optimizer.safetensors'), optimizer, this.model.namedParameters());
    tidy(() => {
      this.model.loadStateDict(toTensors(model));
      this.#optimizer.loadStateDict({ stepCount: state.optimizerSteps, tensors: toTensors(optimizer) });
    });
  }

  /** Steps taken. */
  get step(): number {
    return this.#step;
  }

  /** The lowest loss that was told to `judge`; null before the first one. */
  get best(): BestLoss | null {
    return this.#best;
  }

  /** Counts the validation loss of an evaluation at this step, for `best`. Returns whether it is the lowest so far. */
  judge(loss: number): boolean {
    checkAlive('Trainer.judge', this.#disposed);
    checkNumber('Trainer.judge: loss', loss);
    this.#best = nextBest(this.#best, loss, this.#step);
    return this.#best.evaluationsSince === 0;
  }

  /** Whether all steps were taken. */
  get finished(): boolean {
    return this.#step >= this.plan.total;
  }

  /** Weight of the guides in the next step; 0 without guidance. */
  get alpha(): number {
    return this.#guidance?.alpha ?? 0;
  }

  /**
   * The remaining steps, as they are taken. Between forward passes the event loop gets its turn. If it must never be
   * blocked, train in a worker (`trainInWorker`). When `signal` aborts, the current step is finished and is the last.
   */
  steps(options: { signal?: AbortSignal } = {}): AsyncGenerator<StepReport> {
    checkAlive('Trainer.steps', this.#disposed);
    checkKeys('Trainer.steps', options, { signal: 0 });
    const { signal } = options;
    if (signal !== undefined) checkSignal('Trainer.steps: signal', signal);
    return this.#remaining(signal);
  }

  async *#remaining(signal: AbortSignal | undefined): AsyncGenerator<StepReport> {
    while (!this.finished && !signal?.aborted) yield await this.takeStep();
  }

  /** @throws {DisposedError} @throws {SffnError} ERR_BUSY */
  #checkIdle(what: string): void {
    checkAlive(`Trainer.${what}`, this.#disposed);
    if (this.#busy !== null) throw new SffnError('ERR_BUSY', `Trainer.${what}: wait for ${this.#busy} to be done`);
  }

  /** Runs `body` with the model for itself: beside another step or an evaluation the losses would be others. */
  async #alone<T>(what: string, body: () => Promise<T>): Promise<T> {
    this.#checkIdle(what);
    this.#busy = what;
    try {
      return await body();
    } finally {
      this.#busy = null;
    }
  }

  /**
   * One optimizer step. Where memory runs out before its update, it does not count and can be taken again.
   * @throws {DivergedError} @throws {OutOfMemoryError} @throws {SffnError} ERR_BUSY while a step or an evaluation is under way.
   */
  async takeStep(): Promise<StepReport> {
    return this.#alone('takeStep', () => this.#takeStep());
  }

  async #takeStep(): Promise<StepReport> {
    const start = performance.now();
    const { gradientAccumulation: passes = 1 } = this.config;
    if (this.#step === this.plan.repeatFrom) this.#loader.restore(this.#loaderStart);
    const learningRate = this.#learningRate(this.#step);
    const { alpha } = this;
    const skipping = this.#skipping.state();
    const before = { loader: this.#loader.state(), guidance: this.#guidance?.state(), skipping };
    const batches = Array.from({ length: passes }, () => this.#loader.next());
    let launched: Launched;
    try {
      // With a guide no step can be recorded: alpha, a kernel's argument, differs in each.
      const guided = this.#guidance !== null && !this.#guidance.finished;
      launched = await this.#launcher.launch(batches, learningRate, guided);
    } catch (error) {
      // Gradients that are there already would be added to those of the next step, which is this one once more.
      this.model.zeroGrad();
      this.#loader.restore(before.loader);
      if (before.guidance) this.#guidance?.restore(before.guidance);
      this.#skipping.restore(before.skipping);
      throw error;
    }
    const { read, gradNorm } = this.#read(launched);
    const loss = meanOf(read);
    launched.release();
    const tokens = batches.reduce((sum, { inputs }) => sum + inputs.length, 0);
    const skipped = launched.skipped ?? this.#skipping.skips(loss, gradNorm);
    if (this.#skipping.diverged)
      throw this.#diverged(Number.isFinite(loss) ? `the norm of the gradients is ${gradNorm}` : `the loss is ${loss}`);
    this.#count();
    const tokensPerSecond = (tokens / (performance.now() - start)) * 1000;
    return { step: this.#step, loss, learningRate, alpha, gradNorm, tokens, skipped, tokensPerSecond };
  }

  #count(): void {
    this.#optimizer.zeroGrad();
    this.#step++;
    if (this.#guidance && !this.#guidance.finished && this.#guidance.advance())
      this.#optimizer.remove(releaseGuides(this.model));
  }

  #read({ update, losses }: Launched): { readonly read: readonly number[]; readonly gradNorm: number } {
    let read: readonly number[];
    try {
      // Read only now, and together: on a device, reading waits for all earlier work.
      read = update.readWith(losses);
    } catch (error) {
      this.#count(); // the weights are those after the step
      throw error;
    }
    const { gradNorm } = update;
    try {
      checkRead(read, losses.length, gradNorm);
    } catch (error) {
      this.model.zeroGrad();
      throw error;
    }
    return { read, gradNorm };
  }

  #diverged(what: string): DivergedError {
    this.#optimizer.zeroGrad();
    return new DivergedError(this.#step + 1, what);
  }

  /**
   * Loss on the validation tokens, each counted once. If there are still guides, they are mixed in.
   * @param options.maxRows stops after this many rows. Default: the whole file.
   * @throws {SffnError} ERR_BUSY while a step or an evaluation is under way.
   */
  async evaluate(options: { maxRows?: number } = {}): Promise<Evaluation> {
    this.#checkIdle('evaluate');
    checkKeys('Trainer.evaluate', options, { maxRows: 0 });
    const { maxRows } = options;
    if (maxRows !== undefined) checkInteger('Trainer.evaluate: maxRows', maxRows);
    const file = this.#validationFile;
    if (file === null) throw new FormatError('evaluate', 'the config names no validation tokens');
    const { batchSize, seqLen } = this.config;
    const { validationBytes: textBytes } = this.config.data;
    return this.#alone('evaluate', () => evaluate(this.model, file, { batchSize, seqLen, textBytes, maxRows }));
  }

  /**
   * Writes everything that `resume` needs.
   * @throws {FileError} @throws {SffnError} ERR_BUSY while a step or an evaluation is under way: of a step, half of what
   * is saved would be of the one before it.
   */
  save(folder: string): void {
    this.#checkIdle('save');
    checkPath('Trainer.save: folder', folder);
    const { stepCount, tensors } = checkedState(this.#optimizer.stateDict());
    this.#checksum ??= this.#trainFile.checksum();
    const state: TrainerState = {
      config: this.config,
      step: this.#step,
      optimizerSteps: stepCount,
      guidance: this.#guidance?.state() ?? null,
      loader: this.#loader.state(),
      skipping: this.#skipping.state(),
      best: this.#best,
      changes: this.#changes,
      data: {
        tokens: this.#trainFile.length,
        crc32: this.#checksum,
        beside: tokensBeside(this.config.data, folder),
      },
    };
    saveCheckpoint(folder, {
      model: toData(this.model.stateDict()),
      config: this.config.model,
      optimizer: toData(tensors),
      trainer: state,
      tokenizerFile: this.#tokenizer,
    });
  }

  /** Frees the model, the optimizer and the files; calling it again is harmless. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#launcher[Symbol.dispose]();
    this.#optimizer.dispose();
    this.model.dispose();
    this.#closeFiles();
  }

  #closeFiles(): void {
    this.#trainFile.close();
    this.#validationFile?.close();
  }
}

const toData = (values: ReadonlyMap<string, Tensor>): Map<string, TensorData> =>
  new Map([...values].map(([name, t]) => [name, { shape: t.shape, data: t.host() }]));
