/**
 * Stage c: one tool of compute-sanitizer (`--only=memcheck`, ...) over gpu/one_of_each.ts, every tensor in its own
 * memory.
 */
import { DONE, PARTS } from './parts';
import { nodeScript } from './support/node_script';
import { Script } from './support/options';
import { eachLine, ranOver } from './support/tool';

export const SANITIZERS = ['memcheck', 'racecheck', 'initcheck', 'synccheck'] as const;

/** What the tools print when they end: memcheck, initcheck and synccheck the first, racecheck the second. */
const SUMMARY = /ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: \d+ hazards? displayed \((\d+) errors?/;

/** The number of errors in a summary line; null for any other line. */
export function errorsIn(line: string): number | null {
  const found = SUMMARY.exec(line);
  return found && Number(found[1] ?? found[2]);
}

/** The first line of a finding: '========= Invalid __global__ write of size 4 bytes'. */
const FINDING = /^=+ (?!COMPUTE-SANITIZER|ERROR SUMMARY|RACECHECK SUMMARY)\S.*/;

async function main(): Promise<void> {
  const script = new Script();
  script.checkParts(SANITIZERS);
  const [tool = SANITIZERS[0]] = script.only ?? [];
  const parts: string[] = [];
  let errors: number | null = null;
  let first: string | undefined;
  const sanitizer = ['compute-sanitizer', '--tool', tool, '--print-limit', '20', '--error-exitcode', '9'];
  const target = nodeScript('gpu/one_of_each', `--device=${script.device}`, `--size=${script.size}`);
  const env = { STRUCTURED_FFN_NUM_THREADS: '1', STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING: '1' };
  const status = await eachLine(script.seconds, [...sanitizer, ...target], env, (line) => {
    console.log(line);
    if (line.startsWith(DONE)) parts.push(line.slice(DONE.length));
    errors = errorsIn(line) ?? errors;
    if (FINDING.test(line)) first ??= line;
  });
  script.emit({ kind: 'sanitizer', tool, errors, parts, wanted: PARTS, first });
  // If time ran out, the missing parts show it.
  const ended = !ranOver(status);
  if (errors || (ended && (status !== 0 || errors === null))) process.exitCode = 1;
}

if (require.main === module) void main();
