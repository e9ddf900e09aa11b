/** Adam with decoupled weight decay (Loshchilov and Hutter 2019), all tensors of a group in one kernel call. */
import { noGrad } from '../autograd';
import { zeros } from '../creation';
import type { DType } from '../dtype';
import { checkInteger, checkNumber, GradientError, OptionError, runNative, StateDictError } from '../errors';
import { native } from '../native';
import { checkSameDevice, checkSameShape } from '../ops/check';
import { checkKeys, type OptionNames } from '../options';
import { keep } from '../scope';
import { empty, isTensor, items, type Tensor } from '../tensor';

export interface AdamWOptions {
  /** Learning rate where `step` is given none. Default: 1e-3. */
  readonly lr?: number;
  /** Decay rates of the moments. Default: [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Default: 1e-8. */
  readonly eps?: number;
  /** Default: 0.1, on every parameter, as in the paper. */
  readonly weightDecay?: number;
}

const OPTIONS: OptionNames<AdamWOptions> = { lr: 0, betas: 0, eps: 0, weightDecay: 0 };

/** Parameters with options of their own; `lrScale` multiplies the learning rate. */
export interface ParameterGroup extends AdamWOptions {
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly lrScale?: number;
}

export interface StepOptions {
  /** Learning rate of this step. */
  readonly lr?: number;
  /** Scales all gradients so that their global norm is at most this; 0: no clipping. Default: 0. */
  readonly maxGradNorm?: number;
}

/** What an update did, which the device knows later than the call returns. */
export interface UpdateResult {
  /**
   * The global norm of the gradients before clipping; reading it waits for the device. It may be infinite or NaN: then nothing
   * was updated, and the step does not count.
   */
  readonly gradNorm: number;
  /** The values of other float32 tensors of one element, read together with the norm: one copy, one wait. */
  readWith(others: readonly Tensor[]): number[];
}

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  readonly expAvg: Tensor;
  readonly expAvgSq: Tensor;
  /** The float32 original of a bfloat16 parameter, which alone could not take small updates. */
  readonly master: Tensor | null;
  /**
   * [1]: updates of this parameter alone. Bias correction needs it: a guide that is not drawn has no gradient and skips a
   * step, and its moments must not be taken for older than they are. On the CPU, whatever the parameter's device.
   */
  readonly updates: Tensor;
}

/** What a checkpoint keeps of a slot, by the ending of its name. */
const stateOf = ({ expAvg, expAvgSq, updates, master }: Slot): [string, Tensor][] => [
  ['exp_avg', expAvg],
  ['exp_avg_sq', expAvgSq],
  ['step', updates],
  ...(master ? [['master', master] satisfies [string, Tensor]] : []),
];

/** Numbers of an update for each parameter, see native/kernels.def. */
const NUMBERS = 8;

interface Group {
  slots: Slot[];
  readonly lr: number;
  readonly lrScale: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

/** Slots of one group and dtype, updated in one call, by the rows of numbers from `first` on. */
interface Call {
  readonly group: Group;
  readonly slots: readonly Slot[];
  readonly first: number;
}

export class AdamW {
  readonly #groups: Group[];
  readonly #norm: Tensor;
  readonly #gradScale: Tensor;
  /** [slots, 8]: what the kernel multiplies with. On the device, because a recorded update reads it anew. */
  readonly #numbers: Tensor;
  #stepCount = 0;
  /** Reads the norm of the latest update, where that was not done: only then is it known whether the update counts. */
  #settle: (() => void) | null = null;
  /** Of prepareStep, until applyStep takes it. */
  #prepared: readonly Call[] | null = null;

  /**
   * @param parameters by name (module.namedParameters()), or groups of them.
   * @throws {OptionError} for a name in two groups, or an option that makes no sense. @throws {DeviceError} unless all
   * parameters are on one device: move the model first, then make its optimizer.
   */
  constructor(parameters: ReadonlyMap<string, Tensor> | readonly ParameterGroup[], options: AdamWOptions = {}) {
    checkKeys('AdamW', options, OPTIONS);
    const groups: readonly ParameterGroup[] = isGroups(parameters) ? parameters : [{ parameters }];
    this.#groups = groups.map((group) => createGroup(group, options));
    const [first, ...others] = this.#slots.map(({ parameter }) => parameter);
    const device = first ? checkSameDevice('AdamW: parameters', first, ...others) : 'cpu';
    this.#norm = keep(empty([1], 'float32', device));
    this.#gradScale = keep(empty([1], 'float32', device));
    this.#numbers = keep(empty([this.#slots.length, NUMBERS], 'float32', device));
    const names = this.#slots.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new OptionError('AdamW: parameters', 'each name once', twice);
  }

  get #slots(): Slot[] {
    return this.#groups.flatMap(({ slots }) => slots);
  }

  /** Steps taken. Waits for the latest one where nobody has read its norm. */
  get stepCount(): number {
    this.#settle?.();
    return this.#stepCount;
  }

  /**
   * One update from the gradients that are there; parameters without one are left as they are. Returns before the device has
   * done it.
   */
  step(options: StepOptions = {}): UpdateResult {
    checkKeys('AdamW.step', options, { lr: 0, maxGradNorm: 0 });
    const { lr, maxGradNorm = 0 } = options;
    checkStep(lr, maxGradNorm);
    const calls = this.#callsOf(({ parameter }) => parameter.grad !== null);
    for (const { slots } of calls) slots.forEach(checkGradient);
    if (calls.length === 0) return { gradNorm: 0, readWith: items };
    this.#prepared = null;
    const result = this.#begin(calls, lr);
    this.#apply(calls, maxGradNorm);
    return result;
  }

  /**
   * The first half of a `step` that is recorded (RecordedStep): counts it and uploads the learning rate and the bias
   * corrections. To be called before each run; `applyStep` in the recorded body is the other half. Every parameter must
   * get a gradient. The result may be read after the run.
   */
  prepareStep(options: Pick<StepOptions, 'lr'> = {}): UpdateResult {
    checkKeys('AdamW.prepareStep', options, { lr: 0 });
    const { lr } = options;
    checkStep(lr, 0);
    const calls = this.#callsOf(() => true);
    const result = this.#begin(calls, lr);
    this.#prepared = calls;
    return result;
  }

  /**
   * The other half: all that `step` launches. @throws {GradientError} for a parameter without a gradient, and unless
   * prepareStep was the latest call.
   */
  applyStep(options: Pick<StepOptions, 'maxGradNorm'> = {}): void {
    checkKeys('AdamW.applyStep', options, { maxGradNorm: 0 });
    const { maxGradNorm = 0 } = options;
    checkStep(undefined, maxGradNorm);
    const without = this.#slots.find(({ parameter }) => parameter.grad === null);
    if (without) throw new GradientError(`AdamW: applyStep: ${without.name} has no gradient`);
    const prepared = this.#prepared;
    if (prepared === null) throw new GradientError('AdamW: applyStep: call prepareStep before each one');
    for (const { slots } of prepared) slots.forEach(checkGradient);
    this.#prepared = null;
    this.#apply(prepared, maxGradNorm);
  }

  #callsOf(takesPart: (slot: Slot) => boolean): Call[] {
    let first = 0;
    return this.#groups.flatMap((group) => {
      const taking = group.slots.filter(takesPart);
      for (const slot of taking) checkSameDevice(`AdamW: ${slot.name}`, slot.expAvg, slot.parameter);
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
  #begin(calls: readonly Call[], lr: number | undefined): UpdateResult {
    this.#settle?.();
    const taking = calls.flatMap(({ slots }) => slots);
    for (const { updates } of taking) updates.data[0]!++;
    for (const { group, slots, first } of calls)
      runNative(() =>
        native.adamw_numbers(
          this.#numbers.handle,
          Int32Array.from(slots, ({ updates }) => updates.data[0]!),
          first,
          (lr ?? group.lr) * group.lrScale,
          group.betas[0],
          group.betas[1],
          group.eps,
          group.weightDecay,
        ),
      );
    // What stays of an update that fails before it has a norm: it does not count.
    runNative(() => native.fill(this.#norm.handle, Number.NaN));
    let gradNorm: number | null = null;
    const read = (others: readonly Tensor[]): number[] => {
      if (gradNorm !== null) return items(others);
      const [norm, ...values] = items([this.#norm, ...others]) as [number, ...number[]];
      this.#settle = null;
      if (Number.isFinite(norm)) this.#stepCount++;
      else for (const { updates } of taking) updates.data[0]!--;
      gradNorm = norm;
      return values;
    };
    this.#settle = () => read([]);
    return {
      get gradNorm() {
        read([]);
        return gradNorm!;
      },
      readWith: read,
    };
  }

  #apply(calls: readonly Call[], maxGradNorm: number): void {
    const gradients = calls.flatMap(({ slots }) => slots.map(({ parameter }) => parameter.grad!.handle));
    runNative(() => {
      native.grad_norm(gradients, this.#norm.handle, this.#gradScale.handle, maxGradNorm);
      for (const { slots, first } of calls)
        native.adamw_step(
          slots.map(({ parameter }) => parameter.handle),
          slots.map(({ parameter }) => parameter.grad!.handle),
          slots.map(({ expAvg }) => expAvg.handle),
          slots.map(({ expAvgSq }) => expAvgSq.handle),
          slots.flatMap(({ master }) => master?.handle ?? []),
          this.#gradScale.handle,
          this.#numbers.handle,
          first,
        );
    });
  }

  /** Drops the gradients of all parameters. */
  zeroGrad(): void {
    for (const { parameter } of this.#slots) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /** Forgets parameters and frees their state, as when self-guided training hands over. Others are ignored. */
  remove(parameters: readonly Tensor[]): void {
    this.#settle?.();
    this.#prepared = null;
    const gone = new Set(parameters);
    for (const group of this.#groups) {
      for (const slot of group.slots)
        if (gone.has(slot.parameter)) for (const [, state] of stateOf(slot)) state.dispose();
      group.slots = group.slots.filter(({ parameter }) => !gone.has(parameter));
    }
  }

  /** The state itself, not copies: `<name>.exp_avg`, `<name>.exp_avg_sq` and `<name>.step`, with the number of steps. */
  stateDict(): { stepCount: number; tensors: Map<string, Tensor> } {
    const tensors = new Map<string, Tensor>();
    for (const slot of this.#slots)
      for (const [ending, state] of stateOf(slot)) tensors.set(`${slot.name}.${ending}`, state);
    return { stepCount: this.stepCount, tensors };
  }

  /** @throws {StateDictError} when a part is missing or has another size or dtype; nothing is changed then. */
  loadStateDict({ stepCount, tensors }: { stepCount: number; tensors: ReadonlyMap<string, Tensor> }): void {
    checkInteger('AdamW: stepCount', stepCount, 0);
    this.#settle?.();
    const own = this.stateDict().tensors;
    for (const [name, { size, dtype }] of own) checkState(name, size, dtype, tensors.get(name));
    runNative(() => {
      for (const [name, state] of own) native.transfer(tensors.get(name)!.handle, state.handle);
    });
    this.#stepCount = stepCount;
  }

  /** Frees the state. */
  dispose(): void {
    this.#settle = null;
    this.remove(this.#slots.map(({ parameter }) => parameter));
    for (const t of [this.#norm, this.#gradScale, this.#numbers]) t.dispose();
  }
}

function checkStep(lr: number | undefined, maxGradNorm: number): void {
  if (lr !== undefined) checkNumber('AdamW: lr', lr, 0);
  checkNumber('AdamW: maxGradNorm', maxGradNorm, 0);
}

/** The kernel takes the size of the parameter for that of its gradient. */
function checkGradient({ name, parameter }: Slot): void {
  checkSameShape(`AdamW: gradient of ${name}`, parameter.grad!, parameter.shape);
}

function checkState(name: string, size: number, dtype: DType, given: Tensor | undefined): void {
  if (given?.size !== size || given.dtype !== dtype)
    throw new StateDictError(
      `AdamW: ${name}: expected ${size} ${dtype} values, got ${given ? `${given.size} ${given.dtype}` : 'none'}`,
    );
}

/** @throws {OptionError} for a module, its parameters() and the like, which lack the names. */
function checkParameters(parameters: unknown): void {
  const entries: unknown[] = Symbol.iterator in Object(parameters) ? [...(parameters as Iterable<unknown>)] : [null];
  if (!entries.every((entry) => Array.isArray(entry) && isTensor(entry[1])))
    throw new OptionError(
      'AdamW: parameters',
      'tensors by name (module.namedParameters()) or groups of them',
      parameters,
    );
}

const isGroups = (value: ReadonlyMap<string, Tensor> | readonly ParameterGroup[]): value is readonly ParameterGroup[] =>
  Array.isArray(value);

/** Options of the group, or of all groups where it has none. */
function createGroup(group: ParameterGroup, shared: AdamWOptions): Group {
  if (isTensor(group)) checkParameters(group);
  checkKeys('a group of AdamW', group, { ...OPTIONS, parameters: 0, lrScale: 0 });
  checkParameters(group.parameters);
  const { parameters, lrScale = 1, ...own } = group;
  const lr = own.lr ?? shared.lr ?? 1e-3;
  const betas = own.betas ?? shared.betas ?? [0.9, 0.999];
  const eps = own.eps ?? shared.eps ?? 1e-8;
  const weightDecay = own.weightDecay ?? shared.weightDecay ?? 0.1;
  checkNumber('AdamW: lr', lr, 0);
  checkNumber('AdamW: lrScale', lrScale, 0);
  for (const beta of [betas[0], betas[1]]) checkNumber('AdamW: betas', beta, 0, 1 - Number.EPSILON);
  checkNumber('AdamW: eps', eps, 0);
  checkNumber('AdamW: weightDecay', weightDecay, 0);
  const slots = [...parameters].map(([name, parameter]) => ({
    name,
    parameter,
    expAvg: keep(zeros(parameter.shape, { device: parameter.device })),
    expAvgSq: keep(zeros(parameter.shape, { device: parameter.device })),
    master: parameter.dtype === 'bfloat16' ? keep(noGrad(() => parameter.as('float32'))) : null,
    updates: keep(zeros([1])),
  }));
  return { slots, lr, lrScale, betas: [betas[0], betas[1]], eps, weightDecay };
}
