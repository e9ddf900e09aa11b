/** Files with something changed, made from good ones without a trace of them on the disk. */
import type { TestRandom } from '../support/random';

/** What stands in for a value of a JSON file. */
const VALUES = [
  ...[-1, 0, 0.5, 3, 1e7, 1e9, 2 ** 31, 2 ** 53, 1e308, -0],
  ...[
    null,
    true,
    'x',
    '',
    '\u0000',
    '\ud800',
    'a'.repeat(300),
    '(a+)+$',
    '__proto__',
    [],
    {},
    [1e9],
    { a: 1 },
    [[[[]]]],
  ],
  undefined,
] as const;

/** All places of a JSON document that may be changed. */
function places(value: unknown, path: string[] = []): string[][] {
  if (value === null || typeof value !== 'object') return [path];
  return [
    ...(path.length > 0 ? [path] : []),
    ...Object.entries(value).flatMap(([key, own]) => places(own, [...path, key])),
  ];
}

const pick = <T>(list: readonly T[], random: TestRandom): T => list[random.int(0, list.length - 1)]!;

export interface Change {
  /** For the message of a failure. */
  readonly what: string;
  readonly bytes: Uint8Array;
}

/** A JSON file with one or two values replaced, removed, or put under another name. */
export class JsonChanger {
  readonly #text: string;
  readonly #places: readonly string[][];
  readonly #shallow: readonly string[][];

  constructor(good: Uint8Array) {
    this.#text = Buffer.from(good).toString('utf8');
    this.#places = places(JSON.parse(this.#text));
    this.#shallow = this.#places.filter(({ length }) => length <= 3).slice(0, 400);
  }

  change(random: TestRandom): Change {
    const json = JSON.parse(this.#text);
    const made = Array.from({ length: random.next() < 0.8 ? 1 : 2 }, () => this.#changeOne(json, random));
    return { what: made.join(', '), bytes: Buffer.from(JSON.stringify(json) ?? '') };
  }

  #changeOne(json: Record<string, unknown>, random: TestRandom): string {
    // Most places of a tokenizer are those of its vocabulary; the others matter as much.
    const path = pick(random.next() < 0.5 ? this.#shallow : this.#places, random);
    let owner: unknown = json;
    for (const key of path.slice(0, -1)) {
      if (owner === null || typeof owner !== 'object') return 'nothing';
      owner = (owner as Record<string, unknown>)[key];
    }
    if (owner === null || typeof owner !== 'object') return 'nothing';
    const [object, key] = [owner as Record<string, unknown>, path.at(-1)!];
    const value = pick(VALUES, random);
    if (value === undefined) {
      delete object[key];
      return `${path.join('.')} removed`;
    }
    const kept = random.next() < 0.1;
    const before = object[key];
    object[key] = structuredClone(value);
    if (kept) object[`${key}x`] = before;
    return `${path.join('.')} = ${JSON.stringify(value)?.slice(0, 40)}${kept ? ', renamed' : ''}`;
  }
}

/** Bytes changed, cut, repeated, removed or moved, more often than not near the beginning. */
export function changeBytes(good: Uint8Array, random: TestRandom): Change {
  if (good.length === 0) return { what: 'nothing', bytes: good };
  const place = () => random.int(0, random.next() < 0.7 ? Math.min(2000, good.length - 1) : good.length - 1);
  const at = place();
  const length = random.int(1, Math.min(64, good.length - at));
  const bytes = Uint8Array.from(good);
  const splice = (middle: Uint8Array, after: number): Uint8Array =>
    Buffer.concat([good.subarray(0, at), middle, good.subarray(after)]);
  switch (random.int(0, 7)) {
    case 0:
      bytes[at] = random.int(0, 255);
      return { what: `byte ${at} = ${bytes[at]}`, bytes };
    case 1:
      bytes[at] = 48 + random.int(0, 9);
      return { what: `digit ${at} = ${bytes[at]}`, bytes };
    case 2:
      return { what: `cut at ${at}`, bytes: bytes.subarray(0, at) };
    case 3:
      return { what: `${length} bytes from ${at} removed`, bytes: splice(new Uint8Array(0), at + length) };
    case 4:
      return { what: `${length} bytes from ${at} twice`, bytes: splice(good.subarray(at, at + length), at) };
    case 5:
      bytes.set(good.subarray(at, at + length), Math.min(place(), good.length - length));
      return { what: `${length} bytes from ${at} elsewhere`, bytes };
    case 6: {
      const bit = 1 << random.int(0, 7);
      bytes[random.int(0, Math.min(7, good.length - 1))]! ^= bit;
      bytes[at]! ^= bit;
      return { what: `bit ${bit} of the first bytes and of ${at}`, bytes };
    }
    default:
      bytes.fill(random.int(0, 255), at, at + length);
      return { what: `${length} bytes from ${at} the same`, bytes };
  }
}
