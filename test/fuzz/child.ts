/**
 * Runs random programs in a process of its own. Its one argument is JSON:
 * { seed, runs, progress }: so many programs; the file `progress` always has the number of the one that runs.
 * { program }: one program.
 * Prints what it counted, or the smallest program that breaks a property, and then ends with 1.
 */
import { openSync, writeSync } from 'node:fs';
import fc from 'fast-check';
import { CALLS } from './calls';
import { Draw, type Program, programs } from './draw';
import { type Counts, expectMemoryBack, noCounts } from './machine';

interface Task {
  readonly seed?: number;
  readonly runs?: number;
  readonly progress?: string;
  readonly program?: Program;
}

const named = (program: Program): string => program.map(([call]) => CALLS[call]?.[0]).join(', ');

const runProgram = (program: Program, counts: Counts): Promise<void> =>
  expectMemoryBack(counts, async (machine) => {
    for (const [call, choices] of program) {
      await CALLS[call]![1](machine, new Draw(choices));
      if (choices[0]! % 4 === 3) await machine.settle();
    }
  });

async function main({ seed = 1, runs = 1, progress, program }: Task): Promise<void> {
  const counts = noCounts();
  if (program !== undefined) {
    await runProgram(program, counts);
    return;
  }
  const file = progress === undefined ? null : openSync(progress, 'w');
  let run = 0;
  const property = fc.asyncProperty(programs(CALLS.length), async (one) => {
    if (file !== null) writeSync(file, String(run++).padStart(12), 0);
    await runProgram(one, counts);
  });
  const found = await fc.check(property, { seed, numRuns: runs });
  if (!found.failed) {
    console.log(JSON.stringify(counts));
    return;
  }
  const [smallest] = found.counterexample ?? [[]];
  const error = found.errorInstance;
  console.log(
    `seed ${seed}, path ${found.counterexamplePath}: ${named(smallest)}\n${JSON.stringify(smallest)}\n` +
      `${error instanceof Error ? `${error.stack}\n${error.cause instanceof Error ? error.cause.stack : ''}` : error}`,
  );
  process.exitCode = 1;
}

main(JSON.parse(process.argv[2] ?? '{}')).catch((error: unknown) => {
  console.log(error);
  process.exitCode = 1;
});
