/** What a program works on while it runs, and the properties that hold whatever it does. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  availableDevices,
  type Device,
  type DType,
  getIsa,
  getNumThreads,
  memoryStats,
  Scope,
  SffnError,
  setIsa,
  setMemoryLimit,
  setNumThreads,
  type Tensor,
  tensor,
} from '../../lib';
import type { Nd } from '../support/check_op';
import { allocatedWithoutGarbage } from '../support/garbage';
import { TestRandom } from '../support/random';
import type { Draw } from './draw';
import type { Honest, Operand } from './ops';

/** How many results a program keeps for later calls. */
const MOST_KEPT = 12;

/** How far a result may be from its definition, relative to 1 and to its own size. */
const TOLERANCE = 2e-4;
const GRADIENT_TOLERANCE = 5e-3;

export interface Counts {
  /** Calls made. */
  calls: number;
  /** Of these, how many gave an error of ours. */
  refused: number;
  /** Of these, how many were compared with float64. */
  compared: number;
  /** Gradients compared with differences of the definition. */
  gradients: number;
}

export const noCounts = (): Counts => ({ calls: 0, refused: 0, compared: 0, gradients: 0 });

/** A promise that broke: the error stands for itself. */
const isOurs = (error: unknown): error is SffnError => error instanceof SffnError;

export class Machine {
  readonly devices: readonly Device[] = availableDevices();
  /** Results that later calls may use, disposed ones among them. */
  readonly kept: Tensor[] = [];
  readonly counts: Counts;
  /** Whether the collector may be needed for memory to come back: a caller took an array's memory away, or a constructor failed. */
  untidy = false;
  readonly #made: Disposable[] = [];
  readonly #waiting: Promise<void>[] = [];
  readonly #scopes: Scope[] = [];

  constructor(counts: Counts) {
    this.counts = counts;
  }

  /** Something to be disposed at the end. */
  own<T extends Disposable>(value: T): T {
    this.#made.push(value);
    return value;
  }

  keep(t: Tensor): Tensor {
    this.own(t);
    if (this.kept.length < MOST_KEPT) this.kept.push(t);
    else this.kept[this.kept.length - 1] = t;
    return t;
  }

  /** A tensor of an earlier call, or a new one where there is none. */
  any(d: Draw): Tensor {
    return this.kept.length > 0 ? d.pick(this.kept) : this.keep(tensor([1, 2, 3]));
  }

  /** Opens a scope that this machine closes. */
  open(): void {
    this.#scopes.push(new Scope());
  }

  /** Closes the innermost scope but for the first: without any, what ops keep for backward is left to the collector. */
  close(): void {
    if (this.#scopes.length > 1) this.#scopes.pop()?.[Symbol.dispose]();
  }

  /**
   * Calls `body`. An error must be ours, and there must be none for a call that is `honest`.
   * @returns whether it went well.
   */
  attempt(what: string, honest: boolean, body: () => void): boolean {
    this.counts.calls++;
    try {
      body();
      return true;
    } catch (error) {
      this.#judge(what, honest, error);
      return false;
    }
  }

  /** The same for a call whose result comes later. */
  later(what: string, honest: boolean, body: () => Promise<void>): void {
    this.counts.calls++;
    this.#waiting.push(body().catch((error: unknown) => this.#judge(what, honest, error)));
  }

  #judge(what: string, honest: boolean, error: unknown): void {
    if (error instanceof Violation || !isOurs(error) || honest) throw new Violation(what, error);
    if (error.code === 'ERR_INTERNAL' || error.code === 'ERR_ARGUMENT') throw new Violation(what, error);
    this.counts.refused++;
  }

  async settle(): Promise<void> {
    const results = await Promise.allSettled(this.#waiting.splice(0));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  operand(d: Draw, { shape, kind }: Operand, dtype: DType = 'float32', device: Device = 'cpu'): Tensor {
    const random = new TestRandom(d.int(0, 0xffff));
    const count = shape.reduce((n, s) => n * s, 1);
    if (typeof kind === 'object')
      return this.own(
        tensor(
          Int32Array.from({ length: count }, () => random.int(0, kind.below - 1)),
          shape,
          { device },
        ),
      );
    // Numbers that every element type holds exactly.
    const draw = kind === 'positive' ? () => random.int(1, 32) / 16 : () => random.int(-16, 16) / 16;
    const values = Array.from({ length: count }, draw).map((value) => (dtype === 'int32' ? Math.round(value) : value));
    return this.own(
      tensor(dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values), shape, { dtype, device }),
    );
  }

  /** Calls an op with operands that fit, holds the result to its definition, and often goes backward. */
  honest(name: string, d: Draw, { operands, call, reference, smooth = false }: Honest): void {
    const wanting = d.once(2);
    const inputs = operands.map((operand) => this.operand(d, operand));
    if (wanting) for (const x of inputs) if (x.dtype === 'float32') x.requiresGrad = true;
    const empty = operands.some(({ shape }) => shape.includes(0));
    this.attempt(name, !empty, () => {
      const y = this.keep(call(...inputs));
      if (reference === undefined || empty) return void y.toArray();
      const exact = inputs.map(ndOf);
      const expected = reference(...exact);
      expectClose(name, y.toArray(), expected, TOLERANCE);
      this.counts.compared++;
      if (!y.requiresGrad || d.once(3)) return;
      const random = new TestRandom(d.int(0, 0xffff));
      const dy = this.own(tensor(random.array(y.size), y.shape));
      y.backward(dy, { releaseGraph: d.once(2) });
      for (const x of inputs) if (x.grad) this.own(x.grad);
      if (!smooth) return;
      expectSlope(name, inputs, exact, reference, dy.toArray(), random);
      this.counts.gradients++;
    });
  }

  /** The same op with some operands of earlier calls, of any type and shape: a value or an error of ours. */
  mixed(name: string, d: Draw, { operands, call }: Honest): void {
    const dtype = d.pick(['float32', 'bfloat16', 'int32'] as const);
    const device = d.pick(this.devices);
    this.attempt(name, false, () => {
      const inputs = operands.map((operand) => (d.once(2) ? this.any(d) : this.operand(d, operand, dtype, device)));
      if (d.once(2)) for (const x of inputs) if (!x.disposed && x.dtype !== 'int32') x.requiresGrad = true;
      const y = this.keep(call(...inputs));
      if (d.once(2)) y.toArray();
    });
  }

  /** Gives everything back. */
  async end(): Promise<void> {
    await this.settle();
    for (const scope of this.#scopes.splice(0).reverse()) scope[Symbol.dispose]();
    for (const t of this.kept) if (t.grad) this.own(t.grad);
    for (const one of this.#made.splice(0).reverse()) {
      if ('grad' in one) (one as Tensor).grad?.dispose();
      one[Symbol.dispose]();
    }
  }
}

/** A property that did not hold. */
export class Violation extends Error {
  constructor(what: string, cause: unknown) {
    const inner = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    super(`${what}: ${inner}`, { cause });
    this.name = 'Violation';
  }
}

export const violated = (what: string, problem: string): Violation => new Violation(what, problem);

/** Runs `body` and fails unless all memory comes back. */
export async function expectMemoryBack(counts: Counts, body: (machine: Machine) => Promise<void>): Promise<void> {
  const [threads, isa] = [getNumThreads(), getIsa()];
  const { allocated, limit } = memoryStats();
  const machine = new Machine(counts);
  machine.open();
  try {
    await body(machine);
  } finally {
    setMemoryLimit(limit);
    await machine.end();
    setNumThreads(threads);
    setIsa(isa);
  }
  if (memoryStats().allocated === allocated) return;
  await nextTurn();
  const left = (machine.untidy ? await allocatedWithoutGarbage() : memoryStats().allocated) - allocated;
  if (left !== 0) throw violated('memory', `${left} bytes are left when everything is disposed`);
}

const ndOf = (x: Tensor): Nd => ({ shape: x.shape, data: Float64Array.from(x.toArray()) });

export function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance = TOLERANCE,
): void {
  if (actual.length !== expected.length)
    throw violated(what, `${actual.length} elements, and ${expected.length} by its definition`);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e || !(Math.abs(e) < 1e30)) continue;
    if (!(Math.abs(a - e) <= tolerance * (1 + Math.abs(e))))
      throw violated(what, `element ${i} is ${a}, and ${e} by its definition`);
  }
}

/** The slope of Σ dy·y along one random direction of all inputs together, against that of the definition. */
function expectSlope(
  what: string,
  inputs: readonly Tensor[],
  exact: readonly Nd[],
  reference: (...operands: Nd[]) => Float64Array,
  dy: ArrayLike<number>,
  random: TestRandom,
): void {
  const step = 1e-5;
  const directions = inputs.map((x) => (x.dtype === 'float32' ? random.array(x.size) : new Float32Array(x.size)));
  const at = (sign: number): number => {
    const moved = exact.map(({ shape, data }, i) => ({
      shape,
      data: data.map((value, j) => value + sign * step * directions[i]![j]!),
    }));
    return reference(...moved).reduce((sum, y, i) => sum + y * dy[i]!, 0);
  };
  const expected = (at(1) - at(-1)) / (2 * step);
  let [slope, scale] = [0, 0];
  inputs.forEach((x, i) => {
    const gradient = x.grad?.toArray();
    if (gradient === undefined) return;
    gradient.forEach((g, j) => {
      slope += g * directions[i]![j]!;
      scale += Math.abs(g * directions[i]![j]!);
    });
  });
  if (!(Math.abs(slope - expected) <= GRADIENT_TOLERANCE * (1 + scale)))
    throw violated(`gradient of ${what}`, `a slope of ${slope}, and ${expected} by its definition`);
}
