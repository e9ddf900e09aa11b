/** Text and UTF-8: anything that is not valid text is refused, never replaced silently. */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { FileError, FormatError, OptionError } from '../errors';
import { withFile } from '../io/files';

/** The first line, counted from 1, that is not UTF-8. No byte of a longer character is a line end. */
function badLine(bytes: Buffer): number {
  let line = 1;
  for (let at = 0; ; line++) {
    const end = bytes.indexOf(10, at);
    if (end < 0 || !isUtf8(bytes.subarray(at, end))) return line;
    at = end + 1;
  }
}

/** The text of a UTF-8 file, without its byte order mark. @throws {FileError} @throws {FormatError} for other bytes. */
export function readText(path: string): string {
  const bytes = withFile('read', path, () => readFileSync(path));
  if (bytes[0] === 0xff && bytes[1] === 0xfe) throw new FormatError(path, 'it is UTF-16, not UTF-8');
  if (bytes[0] === 0xfe && bytes[1] === 0xff) throw new FormatError(path, 'it is UTF-16, not UTF-8');
  if (!isUtf8(bytes)) throw new FormatError(path, `it is not UTF-8 text (line ${badLine(bytes)})`);
  try {
    return new TextDecoder().decode(bytes);
  } catch (cause) {
    throw new FileError(`${path}: ${bytes.length} bytes are more than one text can have; split it`, { cause });
  }
}

/**
 * @throws {OptionError} for a value that is not a string, or holds half a surrogate pair, which UTF-8 cannot express.
 */
export function checkText(where: string, text: unknown): asserts text is string {
  if (typeof text !== 'string') throw new OptionError(where, 'a string', text);
  // Node 20 has it; the declarations of ES2023 do not.
  if ((text as string & { isWellFormed(): boolean }).isWellFormed()) return;
  const at = text.search(/\p{Surrogate}/u);
  throw new OptionError(`${where}: expected Unicode text, got half a surrogate pair at ${at}`);
}
