/** Which parameters an optimizer has, their names, and groups of them by rule. */
import { checkFunction, OptionError } from '../errors';
import { Embedding } from '../nn/embedding';
import { Module } from '../nn/module';
import { checkTensor } from '../ops/check';
import { isObject } from '../options';
import { isTensor, type Tensor } from '../tensor';

/**
 * A module, tensors by name (module.namedParameters()), or a list of tensors, whose names are their places: 0, 1, 2,
 * ...
 */
export type ParameterSource = Module | ReadonlyMap<string, Tensor> | readonly Tensor[];

/**
 * `vector`: at most one dimension, as in norms and biases. `embedding`: a table of rows by id: the weight of an
 * Embedding, or any with the name `embedding.weight` or `positions.weight`. `head`: an output projection, by the name
 * `head.weight`. `matrix`: all others; with more than two dimensions, as in block-diagonal factors, the last two are a
 * matrix.
 */
export type ParameterKind = 'matrix' | 'embedding' | 'head' | 'vector';

/** A parameter with its name and kind. */
export interface NamedParameter {
  /** As in state dicts. */
  readonly name: string;
  /** The tensor. */
  readonly parameter: Tensor;
  /** What it is in the model. */
  readonly kind: ParameterKind;
}

const EMBEDDING_NAME = /(^|\.)(embedding|positions)\.weight$/;
const HEAD_NAME = /(^|\.)head\.weight$/;

function kindOf(name: string, { rank }: Tensor, isTable: boolean): ParameterKind {
  if (rank < 2) return 'vector';
  if (isTable || EMBEDDING_NAME.test(name)) return 'embedding';
  return HEAD_NAME.test(name) ? 'head' : 'matrix';
}

/** The parameters in a value that may be anything. */
function entriesOf(source: unknown, first: number): (readonly [string, unknown])[] | null {
  if (source instanceof Module) return [...source.namedParameters()];
  if (source instanceof Map) return [...source];
  return Array.isArray(source) ? source.map((value, i) => [String(first + i), value]) : null;
}

/**
 * The parameters of a source, in its order.
 * @param first place of the source's first parameter among those of all sources.
 * @throws {OptionError} for a value that is not a source. @throws {DTypeError} for an int32 tensor. @throws
 * {DisposedError}
 */
export function namedParameters(where: string, source: ParameterSource, first = 0): NamedParameter[] {
  const entries = entriesOf(source, first);
  if (!entries?.every((entry): entry is readonly [string, Tensor] => isTensor(entry[1])))
    throw new OptionError(
      `${where}: parameters`,
      'a module, tensors (by name or in an array) or groups of them',
      source,
    );
  const modules = source instanceof Module ? [...source.modules()] : [];
  const tables = new Set(modules.flatMap((module) => (module instanceof Embedding ? [module.weight] : [])));
  return entries.map(([name, parameter]) => {
    checkTensor(`${where}: ${name}`, parameter);
    return { name, parameter, kind: kindOf(name, parameter, tables.has(parameter)) };
  });
}

/** Equal for equal options. @throws {OptionError} */
function keyOf(name: string, options: object): string {
  try {
    return JSON.stringify(options);
  } catch {
    throw new OptionError(`parameterGroups: rule of ${name}`, 'options of plain data', options);
  }
}

/** @throws {OptionError} unless it is an array of tensors, disposed ones among them. */
export function checkParameters(where: string, parameters: unknown): asserts parameters is readonly Tensor[] {
  if (!Array.isArray(parameters) || !Array.from(parameters).every(isTensor))
    throw new OptionError(where, 'an array of tensors', parameters);
}

/**
 * Groups by a rule: parameters for which it gives the same options share one. Without decay of norms, biases and
 * embeddings: `parameterGroups(model, ({ kind }) => (kind === 'vector'
 * kind === 'embedding' ? { weightDecay: 0 } : {}))`.
 * @throws {OptionError | DTypeError | DisposedError}
 */
export function parameterGroups<Options extends object>(
  source: ParameterSource,
  rule: (parameter: NamedParameter) => Options,
): (Options & {
  /** Of the group, by name. */
  readonly parameters: ReadonlyMap<string, Tensor>;
})[] {
  checkFunction('parameterGroups: rule', rule);
  const groups = new Map<string, Options & { readonly parameters: Map<string, Tensor> }>();
  for (const named of namedParameters('parameterGroups', source)) {
    const options = rule(named);
    if (!isObject(options)) throw new OptionError(`parameterGroups: rule of ${named.name}`, 'options', options);
    const key = keyOf(named.name, options);
    if (!groups.has(key)) groups.set(key, { ...options, parameters: new Map() });
    groups.get(key)!.parameters.set(named.name, named.parameter);
  }
  return [...groups.values()];
}
