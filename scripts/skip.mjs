// The exit code of a suite if the machine lacks a tool for it. Not 0: tests that did not run have not passed (.ci/run
// counts them).

export const SKIPPED = 77;

export function skip(why) {
  console.log(`skipped: ${why}`);
  process.exit(SKIPPED);
}
