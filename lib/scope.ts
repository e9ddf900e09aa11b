/** Lifetimes: every tensor belongs to the innermost open scope, and is disposed when the scope closes. */
import { checkAlive, checkFunction, OptionError } from './errors';
import type { Tensor } from './tensor';

const stack: Scope[] = [];

/**
 * `using scope = new Scope()`: tensors made until the end of the block are disposed there, except those given to
 * `keep`. Parameters, gradients of leaves and optimizer state do not belong to scopes.
 */
export class Scope implements Disposable {
  readonly #tensors = new Set<Tensor>();
  #closed = false;

  constructor() {
    stack.push(this);
  }

  /** Makes the tensor outlive this scope: it moves to the enclosing one, if there is one. */
  keep<T extends Tensor>(tensor: T): T {
    this.#check('keep', tensor);
    if (this.#tensors.delete(tensor)) stack[stack.indexOf(this) - 1]?.track(tensor);
    return tensor;
  }

  /** Makes the scope dispose the tensor when it closes. */
  track(tensor: Tensor): void {
    this.#check('track', tensor);
    this.#tensors.add(tensor);
  }

  /** Takes the tensor out of the scope. Returns whether it was there. */
  forget(tensor: Tensor): boolean {
    this.#check('forget', tensor);
    return this.#tensors.delete(tensor);
  }

  #check(method: string, tensor: unknown): void {
    checkAlive(`Scope.${method}`, this.#closed);
    if (tensor === null || typeof tensor !== 'object' || !isTensor(tensor))
      throw new OptionError(`Scope.${method}: tensor`, 'a tensor', tensor);
  }

  /** Closes the scope: disposes its tensors. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    stack.splice(stack.lastIndexOf(this), 1);
    for (const tensor of this.#tensors) tensor.dispose();
    this.#tensors.clear();
  }
}

/** Called for every new tensor. */
export function track(tensor: Tensor): void {
  stack[stack.length - 1]?.track(tensor);
}

/** Takes a tensor out of all scopes: it lives until dispose(). */
export function keep<T extends Tensor>(tensor: T): T {
  for (let i = stack.length - 1; i >= 0; i--) if (stack[i]?.forget(tensor)) break;
  return tensor;
}

const isTensor = (value: object): value is Tensor => 'storage' in value && 'shape' in value;

function keepResult(scope: Scope, value: unknown): void {
  if (value === null || typeof value !== 'object') return;
  if (isTensor(value)) scope.keep(value);
  else if (Array.isArray(value)) for (const item of value) keepResult(scope, item);
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) keepResult(scope, item);
}

/**
 * Runs `body` and disposes every tensor made in it, except those in its result (a tensor, or arrays and plain objects of
 * them). An asynchronous body would outlive the scope: use `using scope = new Scope()` around it instead.
 */
export function tidy<T>(body: () => T): T {
  checkFunction('tidy: body', body);
  using scope = new Scope();
  const result = body();
  keepResult(scope, result);
  return result;
}
