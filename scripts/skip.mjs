// What a suite ends with where the machine lacks a tool of it. Not 0: what did not run has not passed (.ci/run counts it).

export const SKIPPED = 77;

export function skip(why) {
  console.log(`skipped: ${why}`);
  process.exit(SKIPPED);
}
