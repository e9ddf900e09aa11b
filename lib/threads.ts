/** How many threads compute. */
import { checkInteger, checkNumber, runNative } from './errors';
import { native } from './native';

/** Threads that a kernel runs on, the caller's included. Default: physical cores, or STRUCTURED_FFN_NUM_THREADS. */
export const getNumThreads = (): number => runNative(() => native.numThreads());

/**
 * At most as many threads are used as this process may use processors, hyper-threads counted: more would wait for each
 * other. Who asks for more gets a warning of `process` with the code SFFN_THREADS, once in a process.
 * @throws {OptionError} unless 1 <= count <= 1024.
 */
export function setNumThreads(count: number): void {
  warn(useThreads('setNumThreads', count));
}

/** The same, and what to warn of instead of the warning. @throws {OptionError} unless 1 <= count <= 1024. */
export function useThreads(where: string, count: number): string | null {
  checkInteger(where, count);
  checkNumber(where, count, 1, 1024);
  runNative(() => native.setNumThreads(Math.min(count, native.availableProcessors())));
  return tooMany(where, count);
}

function tooMany(where: string, count: number): string | null {
  const most = native.availableProcessors();
  if (!(count > most)) return null;
  return `${where}: ${count} threads would share the ${most} processors that this process may use; ${most} are used`;
}

function warn(warning: string | null): void {
  if (warning !== null && native.firstThreadWarning()) process.emitWarning(warning, { code: 'SFFN_THREADS' });
}

/** Native code uses no more of the variable's threads, either. Nonsense in it is an error at its first use, not here. */
function warnOfVariable(): void {
  try {
    warn(tooMany('STRUCTURED_FFN_NUM_THREADS', native.threadsSetting()));
  } catch {}
}

warnOfVariable();
