import { availableIsas, getIsa, OptionError, setIsa } from '../../lib';
import { fastestPrecision } from '../../lib/train';

const before = getIsa();
afterEach(() => setIsa(before));

test('the fastest precision is bfloat16 where pairs of it are multiplied, else float32', () => {
  for (const isa of availableIsas()) {
    setIsa(isa);
    expect(fastestPrecision()).toBe(isa === 'avx512bf16' ? 'bfloat16' : 'float32');
  }
  expect(() => fastestPrecision('tpu' as 'cpu')).toThrow(OptionError);
});
