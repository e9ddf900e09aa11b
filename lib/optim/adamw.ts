/** Adam with decoupled weight decay (Loshchilov and Hutter 2019), all tensors of a group in one kernel call. */
import { noGrad } from '../autograd';
import { zeros } from '../creation';
import { checkAlive, checkChoice, checkNumber, DTypeError, GradientError, OptionError, runNative } from '../errors';
import { kernels } from '../kernels';
import { checkSameDevice } from '../ops/check';
import { checkKeys, type OptionNames } from '../options';
import { keep } from '../scope';
import { empty, isTensor, type Tensor } from '../tensor';
import { GradientClip } from './clip';
import {
  checkParameters,
  type NamedParameter,
  namedParameters,
  type ParameterKind,
  type ParameterSource,
} from './groups';
import {
  checkGradient,
  checkState,
  checkStep,
  copyState,
  dropGradients,
  NO_UPDATE,
  type OptimizerState,
  type RecordableOptimizer,
  type StepOptions,
  type UpdateResult,
} from './optimizer';

/** Options of `AdamW`. */
export interface AdamWOptions {
  /** Learning rate if `step` is not given one. Default: 1e-3. */
  readonly lr?: number;
  /** Decay rates of the moments. Default: [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Default: 1e-8. */
  readonly eps?: number;
  /** Default: 0.1. */
  readonly weightDecay?: number;
  /**
   * Which parameters decay: `all`, as in the paper, or `matrices`: all except norms, biases and embeddings. Default:
   * all.
   */
  readonly decay?: 'all' | 'matrices';
}

export const ADAMW_OPTIONS: OptionNames<AdamWOptions> = { lr: 0, betas: 0, eps: 0, weightDecay: 0, decay: 0 };

/** Parameters with their own options; `lrScale` multiplies the learning rate. */
export interface ParameterGroup extends AdamWOptions {
  /** Of the group. */
  readonly parameters: ParameterSource;
  /** Multiplies the learning rate. Default: 1. */
  readonly lrScale?: number;
}

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  readonly expAvg: Tensor;
  readonly expAvgSq: Tensor;
  /** The float32 original of a bfloat16 parameter: bfloat16 alone would lose small updates. */
  readonly master: Tensor | null;
  /**
   * [1]: the updates of this parameter. Bias correction needs the count: a guide that is not drawn has no gradient and
   * skips a step, and its moments must not count as older than they are. Always on the CPU.
   */
  readonly updates: Tensor;
}

/** The state of a slot in checkpoints, by the endings of its names. */
const stateOf = ({ expAvg, expAvgSq, updates, master }: Slot): [string, Tensor][] => [
  ['exp_avg', expAvg],
  ['exp_avg_sq', expAvgSq],
  ['step', updates],
  ...(master ? [['master', master] satisfies [string, Tensor]] : []),
];

/** Numbers of an update for each parameter; see native/kernels.def. */
const NUMBERS = 8;

interface Group {
  slots: Slot[];
  readonly lr: number;
  readonly lrScale: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

/** Slots of one group and dtype, updated in one call with the rows of numbers from `first` on. */
interface Call {
  readonly group: Group;
  readonly slots: readonly Slot[];
  readonly first: number;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019).
 *
 * @example
 * const optimizer = new AdamW(model, { lr: 2e-3, weightDecay: 0.1 });
 * model.loss(inputs, targets).backward();
 * optimizer.step({ maxGradNorm: 1 });
 * optimizer.zeroGrad();
 */
export class AdamW implements RecordableOptimizer {
  readonly #groups: Group[];
  /** The clip if the caller of `step` has none. */
  readonly #clip: GradientClip;
  /** The factors of the update, [slots, 8]. On the device, because a recorded update reads them anew. */
  readonly #numbers: Tensor;
  #stepCount = 0;
  /** The latest update, until its norm is read: only then is it known whether the update counts. */
  #pending: UpdateResult | null = null;
  /** Set by prepareStep, until applyStep takes it. */
  #prepared: { readonly calls: readonly Call[]; readonly clip: GradientClip } | null = null;
  #disposed = false;

  /**
   * @param parameters a module, its parameters, or groups of them. The state uses their names.
   * @throws {OptionError} for a name in two groups, or an option that makes no sense. @throws {DTypeError} for int32
   * parameters.
   * @throws {DeviceError} unless all parameters are on one device: move the model first, then make its optimizer.
   */
  constructor(parameters: ParameterSource | readonly ParameterGroup[], options: AdamWOptions = {}) {
    checkKeys('AdamW', options, ADAMW_OPTIONS);
    checkAdamWValues('AdamW', options);
    const groups: readonly ParameterGroup[] = isGroups(parameters) ? parameters : [{ parameters }];
    let count = 0;
    this.#groups = groups.flatMap((group) => {
      const created = createGroups(group, options, count);
      for (const { slots } of created) count += slots.length;
      return created;
    });
    const [first, ...others] = this.#slots.map(({ parameter }) => parameter);
    const device = first ? checkSameDevice('AdamW: parameters', first, ...others) : 'cpu';
    this.#clip = new GradientClip(device);
    this.#numbers = keep(empty([this.#slots.length, NUMBERS], 'float32', device));
    const names = this.#slots.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new OptionError('AdamW: parameters', 'each name once', twice);
  }

  get #slots(): Slot[] {
    return this.#groups.flatMap(({ slots }) => slots);
  }

  /** Steps taken. Waits for the latest one if its norm was not read yet. */
  get stepCount(): number {
    checkAlive('AdamW.stepCount', this.#disposed);
    this.#settle();
    return this.#stepCount;
  }

  #settle(): void {
    this.#pending?.readWith([]);
  }

  step(options: StepOptions = {}): UpdateResult {
    checkAlive('AdamW.step', this.#disposed);
    checkStep('AdamW.step', options, { lr: 0, maxGradNorm: 0, clip: 0 });
    const { lr, maxGradNorm, clip } = options;
    const calls = this.#callsOf(({ parameter }) => parameter.grad !== null);
    checkGradients(calls);
    if (calls.length === 0 && clip === undefined) return NO_UPDATE;
    this.#prepared = null;
    const measured = clip ?? this.#clip.begin();
    this.#begin(calls, lr, measured);
    if (clip === undefined) this.#measure(calls, maxGradNorm);
    this.#apply(calls, measured);
    return measured.result;
  }

  prepareStep(options: Pick<StepOptions, 'lr' | 'clip'> = {}): UpdateResult {
    checkAlive('AdamW.prepareStep', this.#disposed);
    checkStep('AdamW.prepareStep', options, { lr: 0, clip: 0 });
    const calls = this.#callsOf(() => true);
    const clip = options.clip ?? this.#clip.begin();
    this.#begin(calls, options.lr, clip);
    this.#prepared = { calls, clip };
    return clip.result;
  }

  applyStep(options: Pick<StepOptions, 'maxGradNorm'> = {}): void {
    checkAlive('AdamW.applyStep', this.#disposed);
    checkStep('AdamW.applyStep', options, { maxGradNorm: 0 });
    const without = this.#slots.find(({ parameter }) => parameter.grad === null);
    if (without) throw new GradientError(`AdamW: applyStep: ${without.name} has no gradient`);
    if (this.#prepared === null) throw new GradientError('AdamW: applyStep: call prepareStep before each one');
    const { calls, clip } = this.#prepared;
    checkGradients(calls);
    this.#prepared = null;
    if (clip === this.#clip) this.#measure(calls, options.maxGradNorm);
    this.#apply(calls, clip);
  }

  #callsOf(takesPart: (slot: Slot) => boolean): Call[] {
    let first = 0;
    return this.#groups.flatMap((group) => {
      const taking = group.slots.filter(takesPart);
      for (const slot of taking) checkSlot(slot);
      return [taking.filter(({ master }) => master === null), taking.filter(({ master }) => master !== null)]
        .filter((slots) => slots.length > 0)
        .map((slots) => {
          const call = { group, slots, first };
          first += slots.length;
          return call;
        });
    });
  }

  /** Counts an update and uploads its numbers. */
  #begin(calls: readonly Call[], lr: number | undefined, clip: GradientClip): void {
    this.#settle();
    const taking = calls.flatMap(({ slots }) => slots);
    for (const { updates } of taking) updates.data[0]!++;
    for (const { group, slots, first } of calls)
      runNative(() =>
        kernels.adamw_numbers({
          numbers: this.#numbers,
          steps: Int32Array.from(slots, ({ updates }) => updates.data[0]!),
          first,
          lr: (lr ?? group.lr) * group.lrScale,
          beta1: group.betas[0],
          beta2: group.betas[1],
          eps: group.eps,
          weight_decay: group.weightDecay,
        }),
      );
    this.#pending = clip.result;
    clip.whenKnown((finite) => {
      this.#pending = null;
      if (finite) this.#stepCount++;
      else for (const { updates } of taking) updates.data[0]!--;
    });
  }

  #measure(calls: readonly Call[], maxGradNorm?: number): void {
    const parameters: Tensor[] = [];
    for (const { slots } of calls) for (const { parameter } of slots) parameters.push(parameter);
    this.#clip.launch(parameters, maxGradNorm);
  }

  #apply(calls: readonly Call[], clip: GradientClip): void {
    runNative(() => {
      for (const { slots, first } of calls)
        kernels.adamw_step({
          params: slots.map(({ parameter }) => parameter.handle),
          grads: slots.map(({ parameter }) => parameter.grad!.handle),
          exp_avg: slots.map(({ expAvg }) => expAvg.handle),
          exp_avg_sq: slots.map(({ expAvgSq }) => expAvgSq.handle),
          masters: slots.flatMap(({ master }) => master?.handle ?? []),
          grad_scale: clip.scale,
          numbers: this.#numbers,
          first,
        });
    });
    for (const { slots } of calls) for (const { parameter } of slots) parameter.storage.changed();
  }

  zeroGrad(): void {
    checkAlive('AdamW.zeroGrad', this.#disposed);
    dropGradients(this.#slots.map(({ parameter }) => parameter));
  }

  remove(parameters: readonly Tensor[]): void {
    checkAlive('AdamW.remove', this.#disposed);
    checkParameters('AdamW.remove: parameters', parameters);
    this.#settle();
    this.#prepared = null;
    const gone = new Set(parameters);
    for (const group of this.#groups) {
      for (const slot of group.slots)
        if (gone.has(slot.parameter)) for (const [, state] of stateOf(slot)) state.dispose();
      group.slots = group.slots.filter(({ parameter }) => !gone.has(parameter));
    }
  }

  /** `<name>.exp_avg`, `<name>.exp_avg_sq`, `<name>.step`, and `<name>.master` of bfloat16 parameters. */
  stateDict(): OptimizerState & {
    /** By the name of the parameter and what it is. */
    readonly tensors: Map<string, Tensor>;
  } {
    checkAlive('AdamW.stateDict', this.#disposed);
    const tensors = new Map<string, Tensor>();
    for (const slot of this.#slots)
      for (const [ending, state] of stateOf(slot)) tensors.set(`${slot.name}.${ending}`, state);
    return { stepCount: this.stepCount, tensors };
  }

  loadStateDict(state: OptimizerState): void {
    checkAlive('AdamW.loadStateDict', this.#disposed);
    const own = this.stateDict().tensors;
    checkState('AdamW', own, state);
    copyState(own, state);
    this.#stepCount = state.stepCount;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#pending = null;
    this.remove(this.#slots.map(({ parameter }) => parameter));
    this.#disposed = true;
    this.#clip[Symbol.dispose]();
    this.#numbers.dispose();
  }
}

/** A parameter may have moved since. @throws {DeviceError | DTypeError} */
function checkSlot({ name, parameter, expAvg, master }: Slot): void {
  checkSameDevice(`AdamW: ${name}`, expAvg, parameter);
  if ((parameter.dtype === 'bfloat16') !== (master !== null))
    throw new DTypeError(`AdamW: ${name}`, 'the dtype that it had when the optimizer was made', parameter.dtype);
}

function checkGradients(calls: readonly Call[]): void {
  for (const { slots } of calls) for (const { name, parameter } of slots) checkGradient('AdamW', name, parameter);
}

/** @throws {OptionError} that names `where` and the first option that makes no sense. */
export function checkAdamWValues(where: string, { lr, betas, eps, weightDecay, decay }: AdamWOptions): void {
  if (lr !== undefined) checkNumber(`${where}: lr`, lr, 0);
  if (betas !== undefined && !(Array.isArray(betas) && betas.length === 2))
    throw new OptionError(`${where}: betas`, 'two numbers', betas);
  if (betas !== undefined)
    for (const beta of [betas[0], betas[1]]) checkNumber(`${where}: betas`, beta, 0, 1 - Number.EPSILON);
  if (eps !== undefined) checkNumber(`${where}: eps`, eps, 0);
  if (weightDecay !== undefined) checkNumber(`${where}: weightDecay`, weightDecay, 0);
  if (decay !== undefined) checkChoice(`${where}: decay`, decay, ['all', 'matrices']);
}

/** Whether a parameter of this kind decays. */
export const decays = (kind: ParameterKind, decay: AdamWOptions['decay']): boolean =>
  decay !== 'matrices' || kind === 'matrix' || kind === 'head';

const isGroups = (value: ParameterSource | readonly ParameterGroup[]): value is readonly ParameterGroup[] =>
  Array.isArray(value) && !value.some(isTensor);

function createSlot({ name, parameter }: NamedParameter): Slot {
  const { shape, device, dtype } = parameter;
  return {
    name,
    parameter,
    expAvg: keep(zeros(shape, { device })),
    expAvgSq: keep(zeros(shape, { device })),
    master: dtype === 'bfloat16' ? keep(noGrad(() => parameter.as('float32'))) : null,
    updates: keep(zeros([1])),
  };
}

/** Options of the group, or else of all groups; parameters without decay become a separate group. */
function createGroups(group: ParameterGroup, shared: AdamWOptions, count: number): Group[] {
  checkKeys('a group of AdamW', group, { ...ADAMW_OPTIONS, parameters: 0, lrScale: 0 });
  checkAdamWValues('AdamW', group);
  const named = namedParameters('AdamW', group.parameters, count);
  const { lrScale = 1 } = group;
  checkNumber('AdamW: lrScale', lrScale, 0);
  const lr = group.lr ?? shared.lr ?? 1e-3;
  const betas = group.betas ?? shared.betas ?? [0.9, 0.999];
  const eps = group.eps ?? shared.eps ?? 1e-8;
  const decay = group.decay ?? shared.decay;
  const rate = group.weightDecay ?? shared.weightDecay ?? 0.1;
  return [true, false].map((decayed) => ({
    slots: named.filter(({ kind }) => decays(kind, decay) === decayed).map(createSlot),
    lr,
    lrScale,
    betas: [betas[0], betas[1]],
    eps,
    weightDecay: decayed ? rate : 0,
  }));
}
