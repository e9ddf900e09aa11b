/** Clipping by the global norm of the gradients: on their device, without waiting for it. */
import type { Handle } from '../../types/native';
import { checkDevice, type Device } from '../device';
import { checkAlive, checkFunction, checkNumber, GradientError, runNative } from '../errors';
import { kernels } from '../kernels';
import { keep } from '../scope';
import { empty, items, type Tensor } from '../tensor';
import { checkParameters, namedParameters, type ParameterSource } from './groups';
import type { UpdateResult } from './optimizer';

/** A norm that is read when it is asked for; then the listeners are told. */
class NormReading implements UpdateResult {
  readonly #tensor: Tensor;
  readonly #listeners: ((finite: boolean) => void)[] = [];
  #norm: number | null = null;

  constructor(tensor: Tensor) {
    this.#tensor = tensor;
  }

  get gradNorm(): number {
    this.readWith([]);
    return this.#norm!;
  }

  readWith(others: readonly Tensor[]): number[] {
    checkParameters('readWith: others', others);
    if (this.#norm !== null) return items(others);
    const [norm, ...values] = items([this.#tensor, ...others]) as [number, ...number[]];
    this.#norm = norm;
    for (const listener of this.#listeners) listener(Number.isFinite(norm));
    return values;
  }

  whenKnown(listener: (finite: boolean) => void): void {
    checkFunction('whenKnown: listener', listener);
    if (this.#norm === null) this.#listeners.push(listener);
    else listener(Number.isFinite(this.#norm));
  }
}

/**
 * Measures the gradients of each step, so that an update can clip them as it reads them: `optimizer.step({ clip })`. An
 * optimizer that cannot multiply by a scale calls `apply` first.
 */
export class GradientClip implements Disposable {
  /** [1], float32: the global norm before clipping. */
  readonly norm: Tensor;
  /** [1], float32: the factor by which clipping multiplies the gradients; NaN if the norm is not finite or too large. */
  readonly scale: Tensor;
  #reading: NormReading | null = null;

  /** @param device where the gradients are. Default: cpu. */
  constructor(device: Device = 'cpu') {
    checkDevice('GradientClip: device', device);
    this.norm = keep(empty([1], 'float32', device));
    this.scale = keep(empty([1], 'float32', device));
  }

  /** The norm of the latest measurement. @throws {GradientError} before the first one. */
  get result(): UpdateResult {
    return this.#latest;
  }

  get #latest(): NormReading {
    this.#checkAlive('result');
    if (this.#reading === null) throw new GradientError('GradientClip: call measure before each step');
    return this.#reading;
  }

  /**
   * Tells whether the norm of the latest measurement is finite, and so whether the step counts, as soon as the norm is
   * read.
   */
  whenKnown(listener: (finite: boolean) => void): void {
    this.#checkAlive('whenKnown');
    this.#latest.whenKnown(listener);
  }

  /** Both halves: the norm of the gradients, and the scale that makes it at most `maxNorm`; 0: any norm is allowed. */
  measure(parameters: readonly Tensor[], maxNorm = 0): this {
    this.#checkAlive('measure');
    checkMeasured('GradientClip.measure', parameters, maxNorm);
    return this.begin().launch(parameters, maxNorm);
  }

  /**
   * The first half of `measure`, for a recorded second half: begins a new measurement. Reads the previous norm if it
   * was not read yet, because it is about to be overwritten.
   */
  begin(): this {
    this.#checkAlive('begin');
    this.#reading?.readWith([]);
    // The state of a step that fails before it has a norm: it does not count.
    runNative(() => kernels.fill({ y: this.norm, value: Number.NaN }));
    this.#reading = new NormReading(this.norm);
    return this;
  }

  /** The second half: everything that `measure` launches. */
  launch(parameters: readonly Tensor[], maxNorm = 0): this {
    this.#checkAlive('launch');
    checkMeasured('GradientClip.launch', parameters, maxNorm);
    const gradients: Handle[] = [];
    for (const { grad } of parameters) if (grad !== null) gradients.push(grad.handle);
    runNative(() => kernels.grad_norm({ grads: gradients, norm: this.norm, scale: this.scale, max_norm: maxNorm }));
    return this;
  }

  /** Multiplies the gradients themselves; nothing is read or written if they need no clipping. */
  apply(parameters: readonly Tensor[]): this {
    this.#checkAlive('apply');
    checkParameters('GradientClip.apply: parameters', parameters);
    for (const parameter of parameters) {
      const { grad } = parameter;
      if (grad === null) continue;
      const target = ownGradient(grad);
      parameter.grad = target;
      runNative(() => kernels.scale_by({ x: target, factor: this.scale }));
    }
    return this;
  }

  #checkAlive(method: string): void {
    checkAlive(`GradientClip.${method}`, this.norm.disposed);
  }

  /** Frees the norm and the scale. */
  [Symbol.dispose](): void {
    this.norm.dispose();
    this.scale.dispose();
  }
}

/** @throws {OptionError} */
function checkMeasured(where: string, parameters: readonly Tensor[], maxNorm: number): void {
  checkParameters(`${where}: parameters`, parameters);
  checkNumber(`${where}: maxNorm`, maxNorm, 0);
}

/** A gradient in memory that is not shared: one gradient may serve several tensors. */
function ownGradient(grad: Tensor): Tensor {
  if (!grad.storage.shared) return grad;
  const copy = keep(empty(grad.shape, grad.dtype, grad.device));
  runNative(() => kernels.copy({ x: grad, y: copy }));
  grad.dispose();
  return copy;
}

/**
 * Scales the gradients so that their global norm is at most `maxNorm`; 0: leaves them. Gradients whose norm is not
 * finite, or after clipping above 1e19, become NaN, and no optimizer of this library steps on them. Returns the norm
 * before clipping [1], infinite for those that are too large; its `item()` waits for the device. With an optimizer of this library, `step({ maxGradNorm })` does the same in fewer passes over
 * memory.
 * @throws {OptionError | DTypeError | DisposedError}
 */
export function clipGradNorm(parameters: ParameterSource, maxNorm: number): Tensor {
  checkNumber('clipGradNorm: maxNorm', maxNorm, 0);
  const tensors = namedParameters('clipGradNorm', parameters).map(({ parameter }) => parameter);
  using clip = new GradientClip(tensors.find(({ grad }) => grad !== null)?.device);
  return clip.measure(tensors, maxNorm).apply(tensors).norm.view();
}
