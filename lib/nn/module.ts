/** Modules hold parameters: named in a stable order, saved and loaded by those names. */
import { noGrad } from '../autograd';
import type { Device } from '../device';
import { classOf, type DType } from '../dtype';
import { checkAlive, checkBoolean, checkInstance, OptionError } from '../errors';
import { checkSameShape, checkTensor } from '../ops/check';
import { checkKeys } from '../options';
import { keep, tidy } from '../scope';
import { parameter, type Tensor } from '../tensor';
import { checkStateNames } from './state_names';

/**
 * Something with parameters. Subclasses register theirs with addParameter and addModule; names in state dicts follow
 * from that.
 *
 * @example
 * class TwoLayers extends Module {
 *   readonly first = this.addModule('first', new Linear({ inFeatures: 4, outFeatures: 8 }));
 *   readonly second = this.addModule('second', new LowRankLinear({ inFeatures: 8, outFeatures: 4, rank: 2 }));
 *
 *   forward(x: Tensor): Tensor {
 *     return this.second.forward(relu(this.first.forward(x)));
 *   }
 * }
 */
export abstract class Module {
  readonly #parameters = new Map<string, Tensor>();
  readonly #children = new Map<string, Module>();
  #training = true;
  #disposed = false;

  /** What methods of subclasses begin with. @throws {DisposedError} after `dispose`. */
  protected checkAlive(method: string): void {
    checkAlive(`${this.constructor.name}.${method}`, this.#disposed);
  }

  /** Whether the module is in training mode, the default; evaluation never draws random numbers. */
  get training(): boolean {
    return this.#training;
  }

  /** Training mode for this module and all below it. */
  train(training = true): this {
    checkBoolean('train: training', training);
    for (const module of this.modules()) module.#training = training;
    return this;
  }

  /** Evaluation mode. */
  eval(): this {
    return this.train(false);
  }

  /** Makes `value` a parameter called `name`. */
  protected addParameter(name: string, value: Tensor): Tensor {
    this.checkAlive('addParameter');
    checkName('addParameter: name', name);
    this.#parameters.set(name, parameter(value));
    return value;
  }

  /** Forgets a parameter and frees its memory. */
  protected removeParameter(name: string): void {
    this.checkAlive('removeParameter');
    const value = this.#parameters.get(name);
    this.#parameters.delete(name);
    value?.grad?.dispose();
    value?.dispose();
  }

  /** Makes `module` a part called `name`. */
  protected addModule<T extends Module>(name: string, module: T): T {
    this.checkAlive('addModule');
    checkName('addModule: name', name);
    checkInstance('addModule: module', module, Module);
    this.#children.set(name, module);
    return module;
  }

  /** This module and all below it, each before its children. */
  modules(): Generator<Module> {
    this.checkAlive('modules');
    return this.#walk();
  }

  *#walk(): Generator<Module> {
    yield this;
    for (const child of this.#children.values()) yield* child.modules();
  }

  /** Parameters by dotted name (`blocks.0.ffn.fc1.v`), in the order in which they were made. */
  namedParameters(): Map<string, Tensor> {
    this.checkAlive('namedParameters');
    const found = new Map(this.#parameters);
    for (const [name, child] of this.#children)
      for (const [key, value] of child.namedParameters()) found.set(`${name}.${key}`, value);
    return found;
  }

  /** All parameters, in the order of namedParameters(). */
  parameters(): Tensor[] {
    return [...this.namedParameters().values()];
  }

  /** Number of trained values. */
  numParameters(): number {
    return this.parameters().reduce((total, { size }) => total + size, 0);
  }

  /** The parameters themselves, not copies, by name. */
  stateDict(): Map<string, Tensor> {
    return this.namedParameters();
  }

  /**
   * Copies values of the same names and shapes, on any device and in either precision, into the parameters; nothing is changed unless all of them fit.
   * @param options.strict whether names that are missing or unexpected are an error. Default: true.
   * @throws {StateDictError} that lists the names. @throws {ShapeError | DTypeError | DisposedError} that names the
   * parameter.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, options: { strict?: boolean } = {}): void {
    this.checkAlive('loadStateDict');
    checkKeys('loadStateDict', options, { strict: 0 });
    const { strict = true } = options;
    checkBoolean('loadStateDict: strict', strict);
    if (classOf(state) !== 'Map') throw new OptionError('loadStateDict: state', 'a Map of tensors', state);
    const own = this.namedParameters();
    if (strict) checkStateNames(own, state);
    const pairs = [...own].flatMap(([name, to]) => {
      const from = state.get(name);
      return from === undefined ? [] : [{ name, to, from }];
    });
    for (const { name, to, from } of pairs) {
      checkTensor(`loadStateDict: ${name}`, from);
      checkSameShape(`loadStateDict: ${name}`, from, to.shape);
    }
    noGrad(() =>
      tidy(() => {
        for (const { to, from } of pairs) to.copyFrom(from.as(to.dtype));
      }),
    );
  }

  /**
   * Moves the parameters, and their gradients, to a device and an element type; optimizers are made after that.
   * @throws {DeviceError} when the device is not usable. @throws {OutOfMemoryError}: then nothing is moved.
   */
  to(device: Device, dtype?: DType): this {
    const parameters = this.parameters();
    const move = (t: Tensor) => noGrad(() => tidy(() => keep(t.as(dtype ?? t.dtype).to(device))));
    const moved: { from: Tensor; to: Tensor }[] = [];
    try {
      for (const from of parameters.flatMap((p) => (p.grad ? [p, p.grad] : [p]))) moved.push({ from, to: move(from) });
    } catch (error) {
      for (const { from, to } of moved) if (to !== from) to.dispose();
      throw error;
    }
    for (const { from, to } of moved) if (to !== from) from.adopt(to);
    return this;
  }

  /** Drops the gradients of all parameters. */
  zeroGrad(): void {
    for (const value of this.parameters()) {
      value.grad?.dispose();
      value.grad = null;
    }
  }

  /** Frees the memory of all parameters and gradients; calling it again is harmless. */
  dispose(): void {
    for (const child of this.#children.values()) child.dispose();
    for (const value of this.#parameters.values()) {
      value.grad?.dispose();
      value.grad = null;
      value.dispose();
    }
    this.#disposed = true;
  }
}

/** @throws {OptionError} unless it can be a part of the names in a state dict. */
function checkName(where: string, name: unknown): void {
  if (typeof name !== 'string' || name === '') throw new OptionError(where, 'a name', name);
}

/** A list of modules, named 0, 1, 2, ... */
export class ModuleList<T extends Module> extends Module {
  /** The modules in order. */
  readonly items: readonly T[];

  constructor(items: readonly T[]) {
    super();
    if (!Array.isArray(items)) throw new OptionError('ModuleList: items', 'an array of modules', items);
    for (const [i, item] of items.entries()) checkInstance(`ModuleList: items[${i}]`, item, Module);
    this.items = items;
    items.forEach((item, i) => {
      this.addModule(String(i), item);
    });
  }
}
