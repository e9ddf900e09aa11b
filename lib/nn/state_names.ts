/** The names of a state dict against those of the module that takes it. */
import { StateDictError } from '../errors';

/** @throws {StateDictError} that lists the names which only one of the two has. */
export function checkStateNames(own: ReadonlyMap<string, unknown>, state: ReadonlyMap<string, unknown>): void {
  const missing = [...own.keys()].filter((name) => !state.has(name));
  const unexpected = [...state.keys()].filter((name) => !own.has(name));
  if (missing.length + unexpected.length > 0)
    throw new StateDictError(
      `loadStateDict: missing: ${missing.join(', ') || 'none'}; unexpected: ${unexpected.join(', ') || 'none'}`,
    );
}
