/**
 * Muon (Jordan et al. 2024): momentum, made orthogonal by a Newton-Schulz iteration, for matrices; AdamW for all other
 * parameters.
 */
import { noGrad } from '../autograd';
import { full, zeros } from '../creation';
import type { DType } from '../dtype';
import {
  checkAlive,
  checkBoolean,
  checkChoice,
  checkFunction,
  checkInteger,
  checkNumber,
  formatShape,
  GradientError,
  ShapeError,
} from '../errors';
import {
  abs,
  add,
  addScalar,
  argmax,
  clampMin,
  concat,
  div,
  embedding,
  greater,
  matmul,
  max,
  mul,
  reciprocal,
  reshape,
  scale,
  sqrt,
  square,
  sub,
  sum,
} from '../ops';
import { checkSameDevice, checkTensor } from '../ops/check';
import { checkKeys, type OptionNames } from '../options';
import { keep, tidy } from '../scope';
import { numel, type Tensor, tensor } from '../tensor';
import { ADAMW_OPTIONS, AdamW, type AdamWOptions, checkAdamWValues, decays } from './adamw';
import { GradientClip } from './clip';
import { checkParameters, type NamedParameter, namedParameters, type ParameterSource } from './groups';
import {
  checkGradient,
  checkState,
  checkStep,
  copyState,
  dropGradients,
  type OptimizerState,
  type RecordableOptimizer,
  type StepOptions,
  type UpdateResult,
} from './optimizer';

/** `betas`, `eps` and `decay` are those of AdamW, for the parameters that are not matrices. */
export interface MuonOptions extends AdamWOptions {
  /** Learning rate of the matrices if `step` is not given one. Default: 0.02. */
  readonly lr?: number;
  /** Of the matrices, and of other parameters that decay. Default: 0.1. */
  readonly weightDecay?: number;
  /** The factor by which each step multiplies the sum of the earlier gradients. Default: 0.95. */
  readonly momentum?: number;
  /** Whether an update looks one momentum step ahead (Nesterov). Default: true. */
  readonly nesterov?: boolean;
  /** Iterations of Newton-Schulz. Default: 5. */
  readonly iterations?: number;
  /**
   * The factor for the learning rate of a matrix [rows, columns]. `original`: √max(1, rows/columns). `match-rms-adamw`:
   * 0.2·√max(rows, columns). Updates are then as large as those of AdamW, and one rate serves both (Liu et al. 2025).
   * Default: original.
   */
  readonly adjustLr?: 'original' | 'match-rms-adamw';
  /** Learning rate of AdamW, as a part of that of the matrices. Default: 0.015, or 1 with `match-rms-adamw`. */
  readonly adamwLrScale?: number;
  /** Which parameters with two or more dimensions count as matrices. Default: those of the kind `matrix`. */
  readonly isMatrix?: (parameter: NamedParameter) => boolean;
}

const MUON_OPTIONS: OptionNames<MuonOptions> = {
  ...ADAMW_OPTIONS,
  momentum: 0,
  nesterov: 0,
  iterations: 0,
  adjustLr: 0,
  adamwLrScale: 0,
  isMatrix: 0,
};

/** The adjustment of the learning rate, and the default ratio of AdamW's to it. */
const ADJUSTMENTS = {
  original: { factor: (rows: number, columns: number) => Math.sqrt(Math.max(1, rows / columns)), adamw: 0.015 },
  'match-rms-adamw': { factor: (rows: number, columns: number) => 0.2 * Math.sqrt(Math.max(rows, columns)), adamw: 1 },
} as const;

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  /** Sum of the gradients; each step multiplies the older ones by `momentum`; float32. */
  readonly buffer: Tensor;
  /** The float32 original of a bfloat16 parameter. */
  readonly master: Tensor | null;
}

/** The state of a slot in checkpoints, by the endings of its names. */
const stateOf = ({ buffer, master }: Slot): [string, Tensor][] => [
  ['momentum_buffer', buffer],
  ...(master ? [['master', master] satisfies [string, Tensor]] : []),
];

export class Muon implements RecordableOptimizer {
  #slots: Slot[];
  /** For all other parameters. It also counts the steps. */
  readonly #adamw: AdamW;
  #others: Tensor[];
  readonly #options: Required<Pick<MuonOptions, 'lr' | 'weightDecay' | 'momentum' | 'nesterov' | 'iterations'>>;
  readonly #adjustment: (typeof ADJUSTMENTS)[keyof typeof ADJUSTMENTS];
  /** The clip if the caller of `step` has none. */
  readonly #clip: GradientClip;
  /** Learning rate of the matrices, [1]. On the device, because a recorded update reads it anew. */
  readonly #lr: Tensor;
  /** The clip of prepareStep, until applyStep takes it. */
  #prepared: GradientClip | null = null;
  #disposed = false;

  /**
   * @param parameters a module, or its parameters. Each block of a block-diagonal factor is a separate matrix.
   * @throws {OptionError | DTypeError | DeviceError} as AdamW does.
   */
  constructor(parameters: ParameterSource, options: MuonOptions = {}) {
    checkKeys('Muon', options, MUON_OPTIONS);
    checkMuonValues('Muon', options);
    const { lr = 0.02, weightDecay = 0.1, momentum = 0.95, nesterov = true, iterations = 5 } = options;
    this.#options = { lr, weightDecay, momentum, nesterov, iterations };
    const { adjustLr = 'original', isMatrix = ({ kind }) => kind === 'matrix', betas, eps, decay } = options;
    this.#adjustment = ADJUSTMENTS[adjustLr];
    const { adamwLrScale: lrScale = this.#adjustment.adamw } = options;
    const named = namedParameters('Muon', parameters);
    const [first, ...rest] = named.map(({ parameter }) => parameter);
    const device = first ? checkSameDevice('Muon: parameters', first, ...rest) : 'cpu';
    const matrices = named.filter((one) => one.parameter.rank >= 2 && checkedAnswer(isMatrix, one));
    const others = named.filter((one) => !matrices.includes(one));
    this.#others = others.map(({ parameter }) => parameter);
    this.#adamw = new AdamW(
      [true, false].map((decayed) => ({
        parameters: new Map(
          others
            .filter(({ kind }) => decays(kind, decay) === decayed)
            .map(({ name, parameter }) => [name, parameter] as const),
        ),
        weightDecay: decayed ? weightDecay : 0,
        lrScale,
      })),
      { betas, eps },
    );
    this.#slots = matrices.map(createSlot);
    this.#clip = new GradientClip(device);
    this.#lr = keep(zeros([1], { device }));
  }

  get #parameters(): Tensor[] {
    return [...this.#slots.map(({ parameter }) => parameter), ...this.#others];
  }

  /** Steps taken. Waits for the latest one if its norm was not read yet. */
  get stepCount(): number {
    checkAlive('Muon.stepCount', this.#disposed);
    return this.#adamw.stepCount;
  }

  /** `lr` is the rate of the matrices. */
  step(options: StepOptions = {}): UpdateResult {
    checkAlive('Muon.step', this.#disposed);
    checkStep('Muon.step', options, { lr: 0, maxGradNorm: 0, clip: 0 });
    const { lr = this.#options.lr, maxGradNorm } = options;
    const taking = this.#slots.filter(({ parameter }) => parameter.grad !== null);
    for (const slot of taking) checkSlot(slot);
    this.#prepared = null;
    if (taking.length === 0) return this.#adamw.step({ ...options, lr });
    const clip = options.clip ?? this.#clip.measure(this.#parameters, maxGradNorm);
    this.#setRate(lr);
    this.#apply(taking, clip);
    return this.#adamw.step({ lr, clip });
  }

  prepareStep(options: Pick<StepOptions, 'lr' | 'clip'> = {}): UpdateResult {
    checkAlive('Muon.prepareStep', this.#disposed);
    checkStep('Muon.prepareStep', options, { lr: 0, clip: 0 });
    const { lr = this.#options.lr } = options;
    const clip = options.clip ?? this.#clip.begin();
    const result = this.#adamw.prepareStep({ lr, clip });
    this.#setRate(lr);
    this.#prepared = clip;
    return result;
  }

  applyStep(options: Pick<StepOptions, 'maxGradNorm'> = {}): void {
    checkAlive('Muon.applyStep', this.#disposed);
    checkStep('Muon.applyStep', options, { maxGradNorm: 0 });
    const without = this.#slots.find(({ parameter }) => parameter.grad === null);
    if (without) throw new GradientError(`Muon: applyStep: ${without.name} has no gradient`);
    const clip = this.#prepared;
    if (clip === null) throw new GradientError('Muon: applyStep: call prepareStep before each one');
    for (const slot of this.#slots) checkSlot(slot);
    this.#prepared = null;
    if (clip === this.#clip) clip.launch(this.#parameters, options.maxGradNorm);
    this.#apply(this.#slots, clip);
    this.#adamw.applyStep();
  }

  #setRate(lr: number): void {
    using rate = tensor([lr]);
    this.#lr.copyFrom(rate);
  }

  /** Changes nothing where memory is short: what suffices for the matrix that needs most suffices for all others. */
  #apply(slots: readonly Slot[], clip: GradientClip): void {
    const { weightDecay, momentum, nesterov, iterations } = this.#options;
    noGrad(() =>
      tidy(() => {
        const { device } = clip.scale;
        // 1, or 0 if the norm is not finite and so nothing may change. Only the device knows which.
        const counts = greater(clip.scale, zeros([1], { device }));
        const row = argmax(concat([full([1], 0.5, { device }), counts]));
        const rate = mul(this.#lr, counts);
        const keptMomentum = addScalar(scale(counts, momentum - 1), 1);
        const keptWeights = addScalar(scale(rate, -weightDecay), 1);
        const gradientScale = orZeros(clip.scale, row);
        for (const { parameter, buffer, master } of [...slots].sort((a, b) => memoryOf(b) - memoryOf(a)))
          tidy(() => {
            const gradient = mul(orZeros(parameter.grad!, row).as('float32'), gradientScale);
            const sum = add(mul(buffer, keptMomentum), gradient);
            const ahead = nesterov ? add(scale(sum, momentum), gradient) : sum;
            const update = newtonSchulz(ahead, { iterations, dtype: parameter.dtype });
            const [rows, columns] = parameter.shape.slice(-2) as [number, number];
            const step = mul(scale(update, this.#adjustment.factor(rows, columns)), rate);
            const weights = sub(mul(master ?? parameter, keptWeights), step);
            const rounded = weights.as(parameter.dtype);
            buffer.copyFrom(sum);
            master?.copyFrom(weights);
            parameter.copyFrom(rounded);
          });
      }),
    );
  }

  zeroGrad(): void {
    checkAlive('Muon.zeroGrad', this.#disposed);
    dropGradients(this.#parameters);
  }

  remove(parameters: readonly Tensor[]): void {
    checkAlive('Muon.remove', this.#disposed);
    checkParameters('Muon.remove: parameters', parameters);
    this.#adamw.remove(parameters);
    this.#prepared = null;
    const gone = new Set(parameters);
    for (const slot of this.#slots)
      if (gone.has(slot.parameter)) for (const [, state] of stateOf(slot)) state.dispose();
    this.#slots = this.#slots.filter(({ parameter }) => !gone.has(parameter));
    this.#others = this.#others.filter((parameter) => !gone.has(parameter));
  }

  get #state(): Map<string, Tensor> {
    return new Map(
      this.#slots.flatMap((slot) => stateOf(slot).map(([ending, state]) => [`${slot.name}.${ending}`, state])),
    );
  }

  /**
   * `<name>.momentum_buffer` of matrices, `<name>.master` of bfloat16 ones, and AdamW's state of the other parameters.
   */
  stateDict(): OptimizerState {
    checkAlive('Muon.stateDict', this.#disposed);
    const { stepCount, tensors } = this.#adamw.stateDict();
    return { stepCount, tensors: new Map([...this.#state, ...tensors]) };
  }

  loadStateDict(state: OptimizerState): void {
    checkAlive('Muon.loadStateDict', this.#disposed);
    const own = this.#state;
    checkState('Muon', own, state);
    this.#adamw.loadStateDict(state);
    copyState(own, state);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.remove(this.#parameters);
    this.#disposed = true;
    this.#adamw.dispose();
    this.#clip[Symbol.dispose]();
    this.#lr.dispose();
  }
}

/** @throws {OptionError} that names `where` and the first option that makes no sense. */
export function checkMuonValues(where: string, options: MuonOptions): void {
  checkAdamWValues(where, options);
  const { momentum, nesterov, iterations, adjustLr, adamwLrScale, isMatrix } = options;
  if (momentum !== undefined) checkNumber(`${where}: momentum`, momentum, 0, 1 - Number.EPSILON);
  if (nesterov !== undefined) checkBoolean(`${where}: nesterov`, nesterov);
  if (iterations !== undefined) checkInteger(`${where}: iterations`, iterations);
  if (adjustLr !== undefined) checkChoice(`${where}: adjustLr`, adjustLr, ['original', 'match-rms-adamw']);
  if (adamwLrScale !== undefined) checkNumber(`${where}: adamwLrScale`, adamwLrScale, 0);
  if (isMatrix !== undefined) checkFunction(`${where}: isMatrix`, isMatrix);
}

/** @throws {OptionError} for an answer that is not true or false. */
function checkedAnswer(isMatrix: NonNullable<MuonOptions['isMatrix']>, parameter: NamedParameter): boolean {
  const answer: unknown = isMatrix(parameter);
  checkBoolean(`Muon: isMatrix of ${parameter.name}`, answer);
  return answer;
}

function createSlot({ name, parameter }: NamedParameter): Slot {
  const { shape, device, dtype } = parameter;
  return {
    name,
    parameter,
    buffer: keep(zeros(shape, { device })),
    master: dtype === 'bfloat16' ? keep(noGrad(() => parameter.as('float32'))) : null,
  };
}

/** Grows as the memory of an update does: some matrices of its size, and some of products with its transpose. */
function memoryOf({ parameter: { shape, size } }: Slot): number {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return 6 * size + 3 * (size / Math.max(rows, columns, 1)) * Math.min(rows, columns);
}

function checkSlot({ name, parameter, buffer }: Slot): void {
  checkSameDevice(`Muon: ${name}`, buffer, parameter);
  checkGradient('Muon', name, parameter);
}

/** x if `row`, an int32 on the device, is 1; zeros if it is 0. A product with 0 cannot do that: it keeps NaN. */
function orZeros(x: Tensor, row: Tensor): Tensor {
  const { shape, dtype, device } = x;
  const table = concat([zeros([1, x.size], { dtype, device }), reshape(x, [1, x.size])]);
  return reshape(embedding(row, table), shape);
}

/** Coefficients of the iteration, chosen to make small singular values grow fast (Jordan et al. 2024). */
const [A, B, C] = [3.4445, -4.775, 2.0315];
/** Added to the norm, for matrices of zeros. */
const EPSILON = 1e-7;
/** The smallest normal number of float32. */
const SMALLEST = 2 ** -126;

/** Options of `newtonSchulz`. */
export interface NewtonSchulzOptions {
  /** Default: 5. */
  readonly iterations?: number;
  /** Type of the matrix products; the norm is computed in float32. Default: float32. */
  readonly dtype?: DType;
}

/**
 * Makes the singular values of each matrix of x [..., rows, columns], float32, about 1 (from 0.7 to 1.2); same shape,
 * outside the graph. X ← aX + (bS + cS²)X with S = XXᵀ, starting with X divided by its norm. A matrix with more rows
 * than columns is transposed for the iteration. Small singular values, below about 1/100 of the norm, stay smaller
 * after 5 iterations.
 * @throws {ShapeError} for fewer than two dimensions.
 */
export function newtonSchulz(x: Tensor, options: NewtonSchulzOptions = {}): Tensor {
  checkKeys('newtonSchulz', options, { iterations: 0, dtype: 0 });
  const { iterations = 5, dtype = 'float32' } = options;
  checkInteger('newtonSchulz: iterations', iterations);
  checkChoice('newtonSchulz: dtype', dtype, ['float32', 'bfloat16']);
  checkTensor('newtonSchulz: x', x, 'float32');
  if (x.rank < 2) throw new ShapeError('newtonSchulz', '[..., rows, columns]', formatShape(x.shape));
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  if (x.size === 0) return zeros(x.shape, { device: x.device });
  const tall = rows > columns;
  return noGrad(() =>
    tidy(() => {
      const flat = reshape(x, [numel(x.shape.slice(0, -2)), rows * columns]);
      // Divided by the largest element first: squares of large or small elements do not fit into float32.
      const largest = clampMin(max(abs(flat), { dim: 1, keepDim: true }), SMALLEST);
      const divided = div(flat, largest);
      const norms = sqrt(sum(square(divided), { dim: 1, keepDim: true }));
      let y = reshape(div(divided, add(norms, scale(reciprocal(largest), EPSILON))), x.shape).as(dtype);
      for (let i = 0; i < iterations; i++) {
        const before = y;
        y = tidy(() => {
          const gram = matmul(before, before, tall ? { transposeA: true } : { transposeB: true });
          const polynomial = add(scale(gram, B), scale(matmul(gram, gram), C));
          return add(scale(before, A), tall ? matmul(before, polynomial) : matmul(polynomial, before));
        });
        before.dispose();
      }
      return y.as('float32');
    }),
  );
}
