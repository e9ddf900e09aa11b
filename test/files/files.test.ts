/** Files that were built to hurt, and files with something changed: STRUCTURED_FFN_LONG=1 changes many more. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestRandom } from '../support/random';
import { bad, expectHarmless, fresh, type Kind, read, root } from './support';

// Other processes, on a machine that may be busy.
jest.setTimeout(120_000);

const ROUNDS = process.env.STRUCTURED_FFN_LONG === '1' ? 1500 : 60;

function writeSafetensors(
  header: string,
  data = new Uint8Array(0),
  length = BigInt(Buffer.byteLength(header)),
): string {
  const path = join(root, 'x.safetensors');
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(length);
  writeFileSync(path, Buffer.concat([size, Buffer.from(header), data]));
  return path;
}

const manyEmpty = (count: number): string =>
  `{${Array.from({ length: count }, (_, i) => `"t${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`).join(',')}}`;

describe('headers that were built to hurt', () => {
  test.each<[string, string, string | null]>([
    ['80,000 empty tensors', manyEmpty(80_000), null],
    ['the first of 80,000 names again at the end', manyEmpty(80_000).replace('"t79999"', '"t0"'), "'t0' appears twice"],
    ['a million brackets', `{"a":${'['.repeat(1e6)}${']'.repeat(1e6)}}`, "'a' has no description"],
    ['a million objects', `${'{"a":'.repeat(1e6)}1${'}'.repeat(1e6)}`, ''],
    ['a name of a megabyte', `{"${'x'.repeat(1e6)}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, null],
    ['a shape of a million sizes', `{"a":{"dtype":"F32","shape":[${'1,'.repeat(1e6)}0],"data_offsets":[0,0]}}`, ''],
    ['a size beyond all numbers', '{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,0]}}', 'no valid shape'],
  ])('%s', async (what, header, message) => {
    const outcome = await read('safetensors', writeSafetensors(header));
    expectHarmless(outcome, what);
    if (message === null) expect(outcome.error).toBeNull();
    else expect(outcome.error?.message ?? '').toContain(message);
  });

  test('a length beyond the file', async () => {
    for (const length of [1n << 20n, 1n << 40n, (1n << 64n) - 1n]) {
      const outcome = await read('safetensors', writeSafetensors('{}', undefined, length));
      expect(outcome.error?.code).toBe('ERR_FORMAT');
      expectHarmless(outcome, String(length));
    }
  });
});

/** What stands in for a value of a JSON file. */
const VALUES = [-1, 0, 0.5, 3, 1e7, 1e9, 2 ** 53, 1e308, null, true, 'x', '', [], {}, [1e9], { a: 1 }] as const;

/** All places of a JSON document that may be changed. */
function places(value: unknown, path: string[] = []): string[][] {
  if (value === null || typeof value !== 'object') return [path];
  return [
    ...(path.length > 0 ? [path] : []),
    ...Object.entries(value).flatMap(([key, own]) => places(own, [...path, key])),
  ];
}

function changeJson(file: string, random: TestRandom): string {
  const json = JSON.parse(readFileSync(file, 'utf8'));
  const all = places(json);
  const path = all[random.int(0, all.length - 1)]!;
  const owner = path.slice(0, -1).reduce((object, key) => object[key], json);
  const value = VALUES[random.int(0, VALUES.length)];
  if (value === undefined) delete owner[path.at(-1)!];
  else owner[path.at(-1)!] = value;
  writeFileSync(file, JSON.stringify(json));
  return `${path.join('.')} = ${JSON.stringify(value)}`;
}

function changeBytes(file: string, random: TestRandom): string {
  const bytes = readFileSync(file);
  // More often than not in the header.
  const at = random.int(0, random.next() < 0.7 ? Math.min(2000, bytes.length - 1) : bytes.length - 1);
  const kind = random.int(0, 2);
  if (kind === 0) bytes[at] = random.int(0, 255);
  if (kind === 1) bytes[at] = 48 + random.int(0, 9);
  writeFileSync(file, kind === 2 ? bytes.subarray(0, at) : bytes);
  return `${['byte', 'digit', 'cut'][kind]} at ${at}`;
}

const CHANGES: [string, (file: string, random: TestRandom) => string, Kind[]][] = [
  ['config.json', changeJson, ['model']],
  ['trainer.json', changeJson, ['trainer', 'model']],
  ['config.json', changeBytes, ['model']],
  ['trainer.json', changeBytes, ['trainer']],
  ['model.safetensors', changeBytes, ['model', 'trainer']],
  ['optimizer.safetensors', changeBytes, ['trainer']],
  ['manifest.json', changeJson, ['model']],
  ['manifest.json', changeBytes, ['model']],
];

test.each(CHANGES)(
  '%s with something changed is read or refused, within its budget',
  async (name, change, kinds) => {
    const random = new TestRandom(name.length + change.name.length);
    for (let round = 0; round < ROUNDS; round++) {
      fresh(name === 'manifest.json');
      const what = `${name}: ${change(join(bad, name), random)}`;
      for (const kind of kinds) expectHarmless(await read(kind, bad), `${kind} with ${what}`);
    }
  },
  600_000,
);

test('token files of any bytes are read or refused', async () => {
  const random = new TestRandom(3);
  const path = join(root, 'tokens.bin');
  for (let round = 0; round < ROUNDS; round++) {
    const low = random.next() < 0.5;
    writeFileSync(
      path,
      Uint8Array.from({ length: random.int(0, 200) }, (_, i) => (low && i % 2 ? 0 : random.int(0, 255))),
    );
    expectHarmless(await read('tokens', path), `round ${round}`);
  }
});
