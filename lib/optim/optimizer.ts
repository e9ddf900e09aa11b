/** What every optimizer offers to a training loop, and what optimizers share. */
import { classOf } from '../dtype';
import { checkInstance, checkInteger, checkNumber, OptionError, runNative, StateDictError } from '../errors';
import { native } from '../native';
import { checkSameDevice } from '../ops/check';
import { checkKeys, isObject, type OptionNames } from '../options';
import { checkGradientOf, isTensor, items, type Tensor } from '../tensor';
import { GradientClip } from './clip';

/** Options of `step`. */
export interface StepOptions {
  /** Learning rate of this step. Default: the optimizer's own. */
  readonly lr?: number;
  /** Scales all gradients so that their global norm is at most this; 0: no clipping. Default: 0. */
  readonly maxGradNorm?: number;
  /** Instead of maxGradNorm, if the caller has measured the gradients. */
  readonly clip?: GradientClip;
}

/** The result of an update, which the device knows only after the call has returned. */
export interface UpdateResult {
  /**
   * The global norm of the gradients before clipping; reading it waits for the device. It may be infinite or NaN: then
   * nothing was updated, and the step does not count. Gradients that are larger than 1e19 after clipping count as
   * infinite, because their squares do not fit into float32.
   */
  readonly gradNorm: number;
  /** The values of other float32 tensors with one element, read together with the norm: one copy, one wait. */
  readWith(others: readonly Tensor[]): number[];
}

/** Everything that an optimizer needs to continue bit for bit. */
export interface OptimizerState {
  /** Steps taken. */
  readonly stepCount: number;
  /** By the parameter's name and the kind of state: `<name>.exp_avg`. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** What every optimizer is to a training loop. Those of this library throw DisposedError after `dispose`. */
export interface Optimizer {
  /**
   * One update from the present gradients, each multiplied by the clip's scale. Parameters without a gradient are left
   * as they are. If the norm of the gradients is not finite nothing is updated. Returns before the device is done.
   */
  step(options?: StepOptions): UpdateResult;
  /** Drops the gradients of all parameters. */
  zeroGrad(): void;
  /** Forgets parameters and frees their state, as when self-guided training hands over. Others are ignored. */
  remove(parameters: readonly Tensor[]): void;
  /** The state itself, not copies. */
  stateDict(): OptimizerState;
  /** @throws {StateDictError} when a part is missing or has another size or dtype; nothing is changed then. */
  loadStateDict(state: OptimizerState): void;
  /** Frees the state. */
  dispose(): void;
}

/** An optimizer whose steps can be recorded as a CUDA graph (RecordedStep): `step` in two halves. */
export interface RecordableOptimizer extends Optimizer {
  /**
   * The part of a step that is new each time: it counts the step, and uploads the learning rate and the like. To be
   * called before each run of the graph. Every parameter must get a gradient. With a `clip`, call `clip.begin()` first.
   * The result may be read after the run.
   */
  prepareStep(options?: Pick<StepOptions, 'lr' | 'clip'>): UpdateResult;
  /**
   * The part of a step that launches kernels; for the recorded body. With the `clip` of prepareStep, call `clip.launch`
   * before it.
   * @throws {GradientError} for a parameter without a gradient, and unless prepareStep was the latest call.
   */
  applyStep(options?: Pick<StepOptions, 'maxGradNorm'>): void;
}

/** Whether the steps of an optimizer can be recorded. */
export const isRecordable = (optimizer: Optimizer): optimizer is RecordableOptimizer =>
  isObject(optimizer) && 'prepareStep' in optimizer && 'applyStep' in optimizer;

/** Of a step for which no parameter has a gradient. */
export const NO_UPDATE: UpdateResult = { gradNorm: 0, readWith: items };

/** @throws {OptionError} that names `where`, the method, for a value that makes no sense or an unknown option. */
export function checkStep<Options extends StepOptions>(
  where: string,
  options: Options,
  known: OptionNames<NoInfer<Options>>,
): void {
  checkKeys(where, options, known);
  const { lr, maxGradNorm, clip }: StepOptions = options;
  if (lr !== undefined) checkNumber(`${where}: lr`, lr, 0);
  if (maxGradNorm !== undefined) checkNumber(`${where}: maxGradNorm`, maxGradNorm, 0);
  if (clip !== undefined) checkInstance(`${where}: clip`, clip, GradientClip);
  if (clip !== undefined && maxGradNorm !== undefined)
    throw new OptionError(`${where}: maxGradNorm`, 'none together with a clip, which has its own', maxGradNorm);
}

/** Kernels take the size of the parameter for that of its gradient. @throws {ShapeError | DTypeError | DeviceError | DisposedError} */
export function checkGradient(where: string, name: string, parameter: Tensor): void {
  const { grad } = parameter;
  checkGradientOf(`${where}: gradient of ${name}`, parameter, grad);
  checkSameDevice(`${where}: gradient of ${name}`, parameter, grad);
}

export function dropGradients(parameters: Iterable<Tensor>): void {
  for (const parameter of parameters) {
    parameter.grad?.dispose();
    parameter.grad = null;
  }
}

/** @throws {StateDictError} unless `state` has all parts of `own`, with the same sizes and dtypes. */
export function checkState(where: string, own: ReadonlyMap<string, Tensor>, state: OptimizerState): void {
  if (!isObject(state) || classOf(state.tensors) !== 'Map')
    throw new OptionError(`${where}: state`, 'an object of stepCount and tensors', state);
  checkInteger(`${where}: state.stepCount`, state.stepCount, 0);
  for (const [name, { size, dtype }] of own) {
    const given = state.tensors.get(name);
    if (!isTensor(given) || given.size !== size || given.dtype !== dtype)
      throw new StateDictError(
        `${where}: ${name}: expected ${size} ${dtype} values, got ${given ? `${given.size} ${given.dtype}` : 'none'}`,
      );
  }
}

/** Copies what checkState has checked, from any device. */
export function copyState(own: ReadonlyMap<string, Tensor>, { tensors }: OptimizerState): void {
  runNative(() => {
    for (const [name, state] of own) native.transfer(tensors.get(name)!.handle, state.handle);
  });
}
