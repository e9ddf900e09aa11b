/** Adam with decoupled weight decay (Loshchilov and Hutter 2019), all tensors of a group in one kernel call. */
import { noGrad } from '../autograd';
import { zeros } from '../creation';
import { checkInteger, checkNumber, OptionError, runNative, StateDictError } from '../errors';
import { native } from '../native';
import { checkSameDevice } from '../ops/check';
import { checkKeys, type OptionNames } from '../options';
import { keep } from '../scope';
import { empty, type Tensor } from '../tensor';

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

interface Group {
  slots: Slot[];
  readonly lr: number;
  readonly lrScale: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

export class AdamW {
  readonly #groups: Group[];
  readonly #norm: Tensor;
  readonly #gradScale: Tensor;
  #stepCount = 0;

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
    const names = this.#slots.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new OptionError('AdamW: parameters', 'each name once', twice);
  }

  get #slots(): Slot[] {
    return this.#groups.flatMap(({ slots }) => slots);
  }

  /** Steps taken. */
  get stepCount(): number {
    return this.#stepCount;
  }

  /**
   * One update from the gradients that are there; parameters without one are left as they are.
   * @returns the global norm of the gradients before clipping. It may be infinite or NaN: then nothing is updated.
   */
  step(options: StepOptions = {}): { gradNorm: number } {
    checkKeys('AdamW.step', options, { lr: 0, maxGradNorm: 0 });
    const { lr, maxGradNorm = 0 } = options;
    if (lr !== undefined) checkNumber('AdamW: lr', lr, 0);
    checkNumber('AdamW: maxGradNorm', maxGradNorm, 0);
    const slots = this.#slots.filter(({ parameter }) => parameter.grad !== null);
    if (slots.length === 0) return { gradNorm: 0 };
    for (const slot of slots) checkSameDevice(`AdamW: ${slot.name}`, slot.expAvg, slot.parameter);
    const gradients = slots.map(({ parameter }) => parameter.grad!.handle);
    runNative(() => native.grad_norm(gradients, this.#norm.handle, this.#gradScale.handle, maxGradNorm));
    for (const { updates } of slots) updates.data[0]!++;
    for (const group of this.#groups) this.#update(group, lr);
    // Read last, so that a device is waited for once: the kernel has done nothing where the norm is not finite.
    const gradNorm = this.#norm.item();
    if (Number.isFinite(gradNorm)) this.#stepCount++;
    else for (const { updates } of slots) updates.data[0]!--;
    return { gradNorm };
  }

  #update(group: Group, lr: number | undefined): void {
    const together = new Map<string, Slot[]>();
    for (const slot of group.slots) {
      if (slot.parameter.grad === null) continue;
      const key = `${slot.updates.data[0]} ${slot.parameter.dtype}`;
      together.set(key, [...(together.get(key) ?? []), slot]);
    }
    for (const slots of together.values()) this.#updateTogether(group, slots, lr);
  }

  /** Parameters of one dtype whose bias correction is the same, in one call. */
  #updateTogether(group: Group, slots: readonly Slot[], lr: number | undefined): void {
    runNative(() =>
      native.adamw_step(
        slots.map(({ parameter }) => parameter.handle),
        slots.map(({ parameter }) => parameter.grad!.handle),
        slots.map(({ expAvg }) => expAvg.handle),
        slots.map(({ expAvgSq }) => expAvgSq.handle),
        slots.flatMap(({ master }) => master?.handle ?? []),
        this.#gradScale.handle,
        (lr ?? group.lr) * group.lrScale,
        group.betas[0],
        group.betas[1],
        group.eps,
        group.weightDecay,
        slots[0]!.updates.data[0]!,
      ),
    );
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
    return { stepCount: this.#stepCount, tensors };
  }

  /** @throws {StateDictError} when a part is missing or has another size; nothing is changed then. */
  loadStateDict({ stepCount, tensors }: { stepCount: number; tensors: ReadonlyMap<string, Tensor> }): void {
    checkInteger('AdamW: stepCount', stepCount, 0);
    const own = this.stateDict().tensors;
    for (const [name, { size }] of own)
      if (tensors.get(name)?.size !== size)
        throw new StateDictError(`AdamW: ${name}: expected ${size} values, got ${tensors.get(name)?.size ?? 'none'}`);
    for (const [name, state] of own) native.transfer(tensors.get(name)!.handle, state.handle);
    this.#stepCount = stepCount;
  }

  /** Frees the state. */
  dispose(): void {
    this.remove(this.#slots.map(({ parameter }) => parameter));
    for (const t of [this.#norm, this.#gradScale]) t.dispose();
  }
}

const isGroups = (value: ReadonlyMap<string, Tensor> | readonly ParameterGroup[]): value is readonly ParameterGroup[] =>
  Array.isArray(value);

/** Options of the group, or of all groups where it has none. */
function createGroup(group: ParameterGroup, shared: AdamWOptions): Group {
  checkKeys('a group of AdamW', group, { ...OPTIONS, parameters: 0, lrScale: 0 });
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
  return { slots, lr, lrScale, betas, eps, weightDecay };
}
