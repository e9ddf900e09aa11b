import { kernels } from '../../lib/kernels';
import { expectClose, expectSameOnAnyThreadCount } from './support';

/** Philox4x32-10 as the paper writes it. */
function philox(counter: number[], key: number[]): number[] {
  let [c0, c1, c2, c3] = counter.map((word) => BigInt(word)) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map((word) => BigInt(word)) as [bigint, bigint];
  const low = (x: bigint): bigint => x & 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, low(p1), (p0 >> 32n) ^ c3 ^ k1, low(p0)];
    [k0, k1] = [low(k0 + 0x9e3779b9n), low(k1 + 0xbb67ae85n)];
  }
  return [c0, c1, c2, c3].map(Number);
}

/** The first `count` draws from `offset` on. */
function draws(count: number, seedLow: number, seedHigh: number, offset: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const position = offset + Math.floor(i / 4);
    return philox([position % 2 ** 32, Math.floor(position / 2 ** 32), 0, 0], [seedLow, seedHigh])[i % 4]!;
  });
}

// The known answers published with Random123 (file kat_vectors).
test.each([
  ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
])('the reference knows the published answer for counter %s', (counter, key, answer) => {
  const words = (text: string): number[] => text.split(' ').map((word) => Number.parseInt(word, 16));
  expect(philox(words(counter), words(key))).toEqual(words(answer));
});

const STREAMS: [number, number, number][] = [
  [0, 0, 0],
  [12345, 678, 9],
  [0xffffffff, 0x1fffff, 2 ** 32 - 1],
  [1, 0, 2 ** 50],
];

describe.each(STREAMS)('seed %i %i, offset %i', (...stream) => {
  const [seed_low, seed_high, offset] = stream;
  const from = { seed_low, seed_high, offset };
  test.each([1, 3, 4, 18])('uniform: %i numbers', (count) => {
    const y = new Float32Array(count);
    kernels.random_uniform({ ...from, y, low: 0, high: 1 });
    expect(Array.from(y)).toEqual(draws(count, ...stream).map((bits) => (bits >>> 8) / 2 ** 24));
    kernels.random_uniform({ ...from, y, low: -3, high: 5 });
    expectClose(
      y,
      draws(count, ...stream).map((bits) => -3 + (8 * (bits >>> 8)) / 2 ** 24),
      1e-7,
    );
  });

  test.each([1, 2, 7, 18])('normal: %i numbers', (count) => {
    const y = new Float32Array(count);
    kernels.random_normal({ ...from, y, mean: 2, std: 0.5 });
    const bits = draws(count + 1, ...stream);
    const expected = Array.from(y, (_, i) => {
      const first = i - (i % 2);
      const radius = Math.sqrt(-2 * Math.log((bits[first]! + 1) / 2 ** 32));
      const angle = (2 * Math.PI * bits[first + 1]!) / 2 ** 32;
      return 2 + 0.5 * radius * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
    });
    expectClose(y, expected, 1e-7);
  });
});

test('element i depends on its place alone: the stream goes on where the offset says, on any number of threads', () => {
  const long = new Float32Array(100003);
  kernels.random_normal({ y: long, seed_low: 5, seed_high: 6, offset: 0, mean: 0, std: 1 });
  const later = new Float32Array(50);
  kernels.random_normal({ y: later, seed_low: 5, seed_high: 6, offset: 20000, mean: 0, std: 1 });
  expect(later).toEqual(long.slice(80000, 80050));
  expectSameOnAnyThreadCount(() => {
    kernels.random_normal({ y: long, seed_low: 5, seed_high: 6, offset: 0, mean: 0, std: 1 });
    return long;
  });
});

test('uniform never reaches its upper bound', () => {
  const y = new Float32Array(1 << 16);
  kernels.random_uniform({ y, seed_low: 1, seed_high: 2, offset: 3, low: 1, high: 1.0000001192092896 }); // one float32 apart: half of the draws round up
  expect(y.every((value) => value === 1)).toBe(true);
});

test('moments of a million normal numbers', () => {
  const y = new Float32Array(1e6);
  kernels.random_normal({ y, seed_low: 42, seed_high: 0, offset: 0, mean: 0, std: 1 });
  const moment = (power: number): number => y.reduce((total, value) => total + value ** power, 0) / y.length;
  expect(Math.abs(moment(1))).toBeLessThan(4e-3);
  expect(Math.abs(moment(2) - 1)).toBeLessThan(6e-3);
  expect(Math.abs(moment(3))).toBeLessThan(1.6e-2);
  expect(Math.abs(moment(4) - 3)).toBeLessThan(4e-2);
});
