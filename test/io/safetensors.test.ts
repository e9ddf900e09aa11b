import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { FileError, FormatError, OptionError, ShapeError } from '../../lib';
import { loadSafetensors, saveSafetensors } from '../../lib/io';

const folder = mkdtempSync(join(tmpdir(), 'sffn-safetensors-'));
const path = join(folder, 'x.safetensors');
afterAll(() => rmSync(folder, { recursive: true }));

function file(header: unknown, data: Uint8Array = new Uint8Array(0), length?: bigint): void {
  const json = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(length ?? BigInt(json.length));
  writeFileSync(path, Buffer.concat([size, json, data]));
}
const load = () => loadSafetensors(path);

test('what was written is read', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.array(fc.float(), { maxLength: 9 }), { maxKeys: 5 }),
      fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
      (values, metadata) => {
        const names = Object.keys(values).filter((name) => name !== '__metadata__');
        const tensors = names.map(
          (name) => [name, { shape: [values[name]!.length], data: Float32Array.from(values[name]!) }] as const,
        );
        saveSafetensors(path, tensors, metadata);
        const back = load();
        expect([...back.tensors].sort()).toEqual([...tensors].sort());
        expect([...back.metadata].sort()).toEqual(Object.entries(metadata).sort());
      },
    ),
    { numRuns: 60, seed: 1 },
  );
});

test('the data begins at a multiple of eight bytes, and int32 stays int32', () => {
  saveSafetensors(path, [['ids', { shape: [2, 2], data: Int32Array.of(1, -2, 3, 4) }]]);
  expect(Number(readFileSync(path).readBigUInt64LE()) % 8).toBe(0);
  expect(load().tensors.get('ids')).toEqual({ shape: [2, 2], data: Int32Array.of(1, -2, 3, 4) });
});

test('narrower and wider floats become float32', () => {
  const data = new Uint8Array(2 * 2 + 2 * 4 + 8);
  const view = new DataView(data.buffer);
  view.setUint16(0, 0x3fc0, true); // 1.5 in bfloat16
  view.setUint16(2, 0xc000, true); // -2
  for (const [i, half] of [0x3e00, 0x0001, 0x7c00, 0xfc00].entries()) view.setUint16(4 + 2 * i, half, true);
  view.setFloat64(12, 0.1, true);
  file(
    {
      a: { dtype: 'BF16', shape: [2], data_offsets: [0, 4] },
      b: { dtype: 'F16', shape: [4], data_offsets: [4, 12] },
      c: { dtype: 'F64', shape: [], data_offsets: [12, 20] },
    },
    data,
  );
  const { tensors } = load();
  expect([...tensors.get('a')!.data]).toEqual([1.5, -2]);
  expect([...tensors.get('b')!.data]).toEqual([1.5, 2 ** -24, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  expect([...tensors.get('c')!.data]).toEqual([Math.fround(0.1)]);
});

const one = ['a', { shape: [1], data: Float32Array.of(1) }] as const;
const good = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
const eight = new Uint8Array(8);

test.each<[string, () => void, string]>([
  ['an empty file', () => writeFileSync(path, ''), '0 bytes are too few'],
  ['a header longer than the file', () => file('{}', eight, 1000n), 'a header of 1000 bytes'],
  ['a header of astronomic length', () => file('{}', eight, 2n ** 63n), 'does not fit'],
  ['no JSON', () => file('{"a":'), 'not JSON'],
  ['an array', () => file([1]), 'not a JSON object'],
  ['lists in lists', () => file('['.repeat(1e6)), 'nested too deeply'],
  ['a text that does not end', () => file('{"a\\'), 'not JSON'],
  ['a name that is no JSON', () => file('{"\\x":{}}'), 'not JSON'],
  [
    'a name twice',
    () =>
      file(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        eight,
      ),
    "tensor 'a' appears twice",
  ],
  ['an unknown dtype', () => file({ a: { ...good, dtype: 'C64' } }, eight), 'dtype C64'],
  ['a dtype from the prototype', () => file({ a: { ...good, dtype: 'toString' } }, eight), 'dtype toString'],
  ['no shape', () => file({ a: { ...good, shape: 'x' } }, eight), 'no valid shape'],
  ['a negative size', () => file({ a: { ...good, shape: [-2] } }, eight), 'no valid shape'],
  ['a fraction', () => file({ a: { ...good, shape: [0.5] } }, eight), 'no valid shape'],
  [
    'a product beyond all numbers',
    () => file({ a: { ...good, shape: [2 ** 52, 2 ** 52] } }, eight),
    'cannot have 8 bytes',
  ],
  ['a shape of other bytes', () => file({ a: { ...good, shape: [3] } }, eight), 'F32 [3] cannot have 8 bytes'],
  ['offsets the wrong way round', () => file({ a: { ...good, data_offsets: [8, 0] } }, eight), 'cannot have -8 bytes'],
  ['a cut file', () => file({ a: good }, new Uint8Array(7)), 'ends beyond the file'],
  ['an overlap', () => file({ a: good, b: { ...good, data_offsets: [4, 12] } }, new Uint8Array(12)), 'overlaps'],
  ['a gap', () => file({ a: good, b: { ...good, data_offsets: [12, 20] } }, new Uint8Array(20)), 'leaves a gap'],
  ['bytes of nobody', () => file({ a: good }, new Uint8Array(9)), '1 bytes belong to no tensor'],
  [
    'a key twice within a description',
    () => file('{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}', eight),
    "'shape' appears twice",
  ],
  ['a header that is not UTF-8', () => file(Buffer.from('{"\xff":{}}', 'latin1')), 'not UTF-8'],
  ['metadata of numbers', () => file({ __metadata__: { a: 1 } }), '__metadata__.a is not a string'],
  ['a description that is null', () => file({ a: null }), "tensor 'a' has no description"],
])('%s is refused, naming the file', (_, write, message) => {
  write();
  expect(load).toThrow(FormatError);
  expect(load).toThrow(message);
  expect(load).toThrow(path);
});

test('tensors of dtypes that are not read leave the others readable', () => {
  const dtypes = ['I64', 'U64', 'BOOL', 'U8', 'I16', 'U16', 'U32', 'F8_E4M3', 'F8_E5M2'];
  for (const dtype of dtypes) {
    const bytes = { I64: 8, U64: 8, U32: 4, I16: 2, U16: 2 }[dtype] ?? 1;
    const other = { dtype, shape: [3], data_offsets: [0, 3 * bytes] };
    const data = new Uint8Array(3 * bytes + 4);
    new DataView(data.buffer).setFloat32(3 * bytes, 2.5, true);
    file({ other, a: { dtype: 'F32', shape: [1], data_offsets: [3 * bytes, 3 * bytes + 4] } }, data);
    expect(
      [...load().tensors].map(
        ([
          name,
          {
            data: [x],
          },
        ]) => [name, x],
      ),
    ).toEqual([['a', 2.5]]);
    expect([...load().unread]).toEqual([['other', dtype]]);
    expect(() => loadSafetensors(path, { names: ['other'] })).toThrow(`tensor 'other' has dtype ${dtype}`);
    file(
      { other: { ...other, shape: [4] }, a: { dtype: 'F32', shape: [1], data_offsets: [3 * bytes, 3 * bytes + 4] } },
      data,
    );
    expect(load).toThrow(`${dtype} [4] cannot have ${3 * bytes} bytes`);
  }
});

test('only the tensors asked for are read', () => {
  const tensor = (value: number) => ({ shape: [1], data: Float32Array.of(value) });
  saveSafetensors(path, new Map([1, 2, 3].map((value) => [`t${value}`, tensor(value)])));
  expect([...loadSafetensors(path, { names: ['t3', 't1'] }).tensors]).toEqual([
    ['t1', tensor(1)],
    ['t3', tensor(3)],
  ]);
  expect(loadSafetensors(path, { names: [] }).tensors.size).toBe(0);
  expect(() => loadSafetensors(path, { names: ['t4'] })).toThrow("it has no tensor 't4'");
  expect(() => loadSafetensors(path, { name: [] } as never)).toThrow('did you mean names?');
});

test('each float16 is the number that IEEE 754 says', () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  file({ a: { dtype: 'F16', shape: [65536], data_offsets: [0, 131072] } }, new Uint8Array(bits.buffer));
  const { data } = load().tensors.get('a')!;
  for (let i = 0; i < 65536; i++) {
    const [sign, exponent, fraction] = [i >> 15 ? -1 : 1, (i >> 10) & 31, i & 1023];
    const finite = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
    const expected = exponent < 31 ? sign * finite : fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    if (!Object.is(data[i], expected)) expect([i, data[i]]).toEqual([i, expected]);
  }
});

test.each<[string, () => void, string]>([
  ['a name twice', () => saveSafetensors(path, [one, one]), "each name once, got 'a'"],
  ['the name of the metadata', () => saveSafetensors(path, [['__metadata__', one[1]]]), '__metadata__'],
  ['a name that UTF-8 does not have', () => saveSafetensors(path, [['a\ud800', one[1]]]), 'a text other than'],
  ['metadata of numbers', () => saveSafetensors(path, [one], { a: 1 } as never), 'metadata.a: expected a text, got 1'],
  ['sizes below zero', () => saveSafetensors(path, [['a', { ...one[1], shape: [-1, -1] }]]), '[-1, -1]'],
])('the writer refuses %s, and writes nothing', (_, write, message) => {
  rmSync(path, { force: true });
  expect(write).toThrow(message);
  expect(readdirSync(folder)).toEqual([]);
});

test('a shape that says something else the second time is read once', () => {
  let times = 0;
  const shape = Object.defineProperty([0], 0, { get: () => (times++ === 0 ? 1 : 100) });
  saveSafetensors(path, [['a', { ...one[1], shape }]]);
  expect(load().tensors.get('a')!.shape).toEqual([1]);
});

test('a text of any length and with any characters is read', () => {
  const texts = { long: 'x'.repeat(12e6), quoted: '\\"'.repeat(1e5), open: '{"a":[' };
  saveSafetensors(path, [one], texts);
  expect(Object.fromEntries(load().metadata)).toEqual(texts);
});

test('a name twice is an error of an option', () => {
  expect(() => saveSafetensors(path, [one, one])).toThrow(OptionError);
});

test('a name like __proto__ is a name', () => {
  file('{"__proto__":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight);
  expect([...load().tensors.keys()]).toEqual(['__proto__']);
  expect(({} as { shape?: unknown }).shape).toBeUndefined();
});

test('a damaged file is refused, or reads as tensors of the right size; it never does worse', () => {
  saveSafetensors(path, [
    ['a', { shape: [2, 3], data: new Float32Array(6).fill(1) }],
    ['b', { shape: [4], data: Int32Array.of(1, 2, 3, 4) }],
  ]);
  const whole = readFileSync(path);
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, value, cut) => {
      const bytes = Buffer.from(whole.subarray(0, Math.max(cut, at + 1)));
      bytes[at] = value;
      writeFileSync(path, bytes);
      try {
        for (const { shape, data } of load().tensors.values())
          expect(data.length).toBe(shape.reduce((n, size) => n * size, 1));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }),
    { numRuns: 500, seed: 2 },
  );
});

test('missing files, folders and places that cannot be written are file errors', () => {
  expect(() => loadSafetensors(join(folder, 'none'))).toThrow(FileError);
  expect(() => loadSafetensors(join(folder, 'none'))).toThrow('no such file or folder');
  expect(() => loadSafetensors(folder)).toThrow('it is a folder');
  expect(() => saveSafetensors(join(path, 'x'), [])).toThrow(FileError);
});

test('a refused write leaves the old file, and nothing beside it', () => {
  saveSafetensors(path, [['a', { shape: [1], data: Float32Array.of(7) }]]);
  const before = readdirSync(folder);
  expect(() => saveSafetensors(path, [['a', { shape: [2], data: Float32Array.of(7) }]])).toThrow(ShapeError);
  expect(load().tensors.get('a')!.data[0]).toBe(7);
  expect(readdirSync(folder)).toEqual(before);
});
