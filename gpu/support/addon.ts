/** The path of the addon that `lib` loads. */
import '../../lib/native';

/** @throws {Error} if it was not loaded from a file. */
export function nativePath(): string {
  const path = Object.keys(require.cache).find((file) => file.endsWith('.node'));
  if (path === undefined) throw new Error('no addon was loaded');
  return path;
}
