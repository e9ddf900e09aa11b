/** Options objects: each is checked against the list of its names, so that a misspelt option is never ignored. */
import { OptionError } from './errors';

/**
 * Every name of T once: the compiler refuses a list with a missing or an extra name. A table of defaults also serves as
 * a list.
 */
export type OptionNames<T> = Readonly<Record<keyof T, unknown>>;

/** An object with keys: neither null nor an array. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** An object to iterate over; text is none, because it would give its characters. */
export const isIterable = (value: unknown): value is Iterable<unknown> =>
  value !== null && typeof value === 'object' && typeof (value as Iterable<unknown>)[Symbol.iterator] === 'function';

/**
 * @param owner the owner of the options, for the message: `AdamW`.
 * @throws {OptionError} for a value that is not an object, and for an unknown name: "weight_decay: unknown option of
 * AdamW; did you mean weightDecay?".
 */
export function checkKeys<T extends object>(owner: string, options: T, known: OptionNames<NoInfer<T>>): void {
  if (!isObject(options)) throw new OptionError(owner, 'an object of options', options);
  for (const name of Object.keys(options))
    if (!Object.hasOwn(known, name))
      throw new OptionError(`${name}: unknown option of ${owner}; ${hint(name, Object.keys(known))}`);
}

function hint(name: string, known: readonly string[]): string {
  const distances = known.map((other) => distance(plain(name), plain(other)));
  const nearest = Math.min(...distances);
  if (nearest <= name.length / 2) return `did you mean ${known[distances.indexOf(nearest)]}?`;
  return `known are ${known.join(', ')}`;
}

/** weight_decay and weightDecay count as one word. */
const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/** The beginning of a name counts as close to it. */
const distance = (a: string, b: string): number =>
  Math.min(editDistance(a, b), a.length > 2 && b.startsWith(a) ? 1 : a.length);

/** Fewest insertions, deletions and replacements that turn a into b (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const letter of a) {
    const next = [row[0]! + 1];
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (letter === b[j] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
