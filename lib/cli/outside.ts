/** Where commands write. */
import { realPath, wayInto } from '../io/files';
import { checkpointAround } from '../io/manifest';
import { UsageError } from './failure';

/**
 * A save replaces a checkpoint's folder as a whole, so nothing else is written into one.
 * @param what how errors name the path. @param planned a checkpoint that need not be there yet.
 * @throws {UsageError} for a path that is, or lies in, a checkpoint.
 */
export function checkOutside(what: string, path: string, planned?: string): void {
  const isInPlanned = planned !== undefined && wayInto(planned, path) !== undefined;
  const checkpoint = isInPlanned ? planned : checkpointAround(realPath(path));
  if (checkpoint !== undefined)
    throw new UsageError(`${what}: ${checkpoint} is a checkpoint; name a place outside of it`);
}
