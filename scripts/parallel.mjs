import { availableParallelism } from 'node:os';

/** `run` on each item, on every core. */
export async function inParallel(items, run) {
  const queue = [...items.entries()];
  const results = [];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) results[next[0]] = await run(next[1], next[0]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}
