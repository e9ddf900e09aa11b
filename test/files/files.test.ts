/** Files that were built to hurt, and files with something changed: STRUCTURED_FFN_LONG=1 changes a million. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KIND_NAMES } from './batch_child';
import { expectHarmless, read, readBatch, root } from './support';

// Other processes, on a machine that may be busy.
jest.setTimeout(120_000);

const LONG = process.env.STRUCTURED_FFN_LONG === '1';

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
    ['a million brackets', `{"a":${'['.repeat(1e6)}${']'.repeat(1e6)}}`, 'nested too deeply'],
    ['a million objects', `${'{"a":'.repeat(1e6)}1${'}'.repeat(1e6)}`, 'nested too deeply'],
    ['a name of a megabyte', `{"${'x'.repeat(1e6)}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, null],
    ['a shape of a million sizes', `{"a":{"dtype":"F32","shape":[${'1,'.repeat(1e6)}0],"data_offsets":[0,0]}}`, ''],
    ['a size beyond all numbers', '{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,0]}}', 'no valid shape'],
  ])('%s', async (what, header, message) => {
    const outcome = await read(writeSafetensors(header));
    expectHarmless(outcome, what);
    if (message === null) expect(outcome.error).toBeNull();
    else expect(outcome.error?.message ?? '').toContain(message);
  });

  test('a length beyond the file', async () => {
    for (const length of [1n << 20n, 1n << 40n, (1n << 64n) - 1n]) {
      const outcome = await read(writeSafetensors('{}', undefined, length));
      expect(outcome.error?.code).toBe('ERR_FORMAT');
      expectHarmless(outcome, String(length));
    }
  });
});

/** Files of each kind; in the long form a million of all kinds together, or STRUCTURED_FFN_FILES of each. */
const FILES = Number(process.env.STRUCTURED_FFN_FILES ?? (LONG ? Math.ceil(1e6 / KIND_NAMES.length) : 150));
const SEED = Number(process.env.STRUCTURED_FFN_SEED ?? 1);
/** Of one process. */
const BATCH = 5000;

test.each(KIND_NAMES)(
  '%s with something changed is read or refused, within its budget',
  (kind) => {
    let refused = 0;
    for (let done = 0; done < FILES; done += BATCH) {
      const report = readBatch(kind, SEED + done, Math.min(BATCH, FILES - done));
      expect(report.failures).toEqual([]);
      refused += report.refused;
    }
    // Some changes are harmless, and most are not.
    expect(refused).toBeGreaterThan(FILES / 8);
    expect(refused).toBeLessThan(FILES);
  },
  Math.max(120_000, FILES * 100),
);
