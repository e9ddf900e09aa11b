/** Environment variables that are not understood: an error at the first use that names the variable and what it takes. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { availableDevices, availableIsas, cudaStatus } from '../../lib';

const ROOT = join(__dirname, '..', '..');

interface Answer {
  readonly value?: unknown;
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
}

/** What the expressions of the library are, or how they fail, one after the other in a process with these variables. */
function evaluate(variables: Readonly<Record<string, string>>, ...expressions: string[]): Answer[] {
  const program = `const sffn = require('./lib');
    const attempt = (body) => {
      try {
        return { value: body() };
      } catch ({ name, code, message }) {
        return { name, code, message };
      }
    };
    console.log(JSON.stringify([${expressions.map((expression) => `attempt(() => sffn.${expression})`).join(', ')}]));`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-r', './scripts/register_ts.cjs', '-e', program], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...variables },
  });
  // The executor says so when it has no code for a device; a GPU does not.
  expect({ status, stderr: stderr.replaceAll(/^\[ptxsim\].*\n/gm, '') }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

const refusal = (variable: string, expected: string, value: string): Answer => ({
  name: 'SffnError',
  code: 'ERR_OPTION',
  message: `${variable}: expected ${expected}, got '${value}'`,
});

test('what makes sense is taken', () => {
  const isa = availableIsas().at(-1)!;
  expect(evaluate({ STRUCTURED_FFN_NUM_THREADS: '1', STRUCTURED_FFN_ISA: isa }, 'getNumThreads()', 'getIsa()')).toEqual(
    [{ value: 1 }, { value: isa }],
  );
});

test.each(['0', '1025', '-1', 'two', '1.5', '2x', ' 2', '1e1', '99999999999', ''])('threads: %p', (value) => {
  const refused = refusal('STRUCTURED_FFN_NUM_THREADS', 'a whole number from 1 to 1024', value);
  expect(evaluate({ STRUCTURED_FFN_NUM_THREADS: value }, 'getNumThreads()', 'tensor([1])', 'getNumThreads()')).toEqual([
    refused,
    refused,
    refused,
  ]);
});

test.each(['sse9', 'AVX2', ''])('instruction set: %p', (value) => {
  const refused = refusal('STRUCTURED_FFN_ISA', `one of ${availableIsas().join(',')}`, value);
  expect(evaluate({ STRUCTURED_FFN_ISA: value }, 'getIsa()', 'square(sffn.tensor([2]))')).toEqual([refused, refused]);
});

if (availableDevices().includes('cuda'))
  describe('CUDA', () => {
    const on = "tensor([1]).to('cuda').device";

    test.each(['-1', 'abc', '1x', '', ' 0', '99999999999'])('device: %p', (value) => {
      const { message } = refusal('STRUCTURED_FFN_CUDA_DEVICE', 'a whole number from 0 to 2147483647', value);
      const status = `not available: ${message}`;
      expect(
        evaluate(
          { STRUCTURED_FFN_CUDA_DEVICE: value },
          'availableDevices()',
          'cudaStatus()',
          on,
          'setCudaDevice(0)',
          on,
        ),
      ).toEqual([
        { value: ['cpu'] },
        { value: status },
        { name: 'DeviceError', code: 'ERR_DEVICE', message: `to: device 'cuda' is ${status}` },
        {},
        { value: 'cuda' },
      ]);
    });

    test('a device that the driver does not have', () => {
      expect(evaluate({ STRUCTURED_FFN_CUDA_DEVICE: '77' }, 'availableDevices()', 'cudaStatus()')).toEqual([
        { value: ['cpu'] },
        { value: expect.stringMatching(/^not available: device 77 was asked for, the driver reports \d+$/) },
      ]);
    });

    test.each(['yes', 'true', '2', ''])('switches: %p', (value) => {
      const [tf32, caching] = ['STRUCTURED_FFN_TF32', 'STRUCTURED_FFN_NO_CUDA_MEMORY_CACHING'];
      const expected = 'a whole number from 0 to 1';
      expect(evaluate({ [tf32]: value }, 'getCudaTf32()')).toEqual([refusal(tf32, expected, value)]);
      expect(evaluate({ [caching]: value }, on)).toEqual([refusal(caching, expected, value)]);
    });

    // Only the executor can be asked for another device than there is.
    if (cudaStatus().includes('PTX executor')) {
      test.each(['61', '75'])('compute capability %p is refused by the name of the device', (capability) => {
        const [major, minor] = capability;
        const what =
          'compute capability 8.0 or later is needed, device 0 is ' +
          `PTX executor (no GPU), compute capability ${major}.${minor}, 1024 MiB`;
        const refused = (where: string): Answer => ({ name: 'DeviceError', code: 'ERR_DEVICE', message: where + what });
        expect(
          evaluate(
            // That there is no code for such a device is no finding.
            { PTXSIM_COMPUTE_CAPABILITY: capability, PTXSIM_REPORT: '' },
            'availableDevices()',
            'cudaStatus()',
            on,
            'setCudaDevice(0)',
            "memoryStats('cuda')",
          ),
        ).toEqual([
          { value: ['cpu'] },
          { value: `not available: ${what}` },
          refused("to: device 'cuda' is not available: "),
          refused('setCudaDevice: '),
          refused("memoryStats: device 'cuda' is not available: "),
        ]);
      });

      test.each(['80', '89', '120'])('compute capability %p is taken', (capability) => {
        expect(evaluate({ PTXSIM_COMPUTE_CAPABILITY: capability }, on)).toEqual([{ value: 'cuda' }]);
      });

      test.each([
        ['PTXSIM_SCHEDULE', 'revers', 'forward, reverse or random:SEED'],
        ['PTXSIM_SCHEDULE', 'random', 'forward, reverse or random:SEED'],
        ['PTXSIM_COMPUTE_CAPABILITY', '9.0', 'a whole number from 10 to 2147483647'],
        ['PTXSIM_STRICT', 'yes', 'a whole number from 0 to 1'],
      ])('the executor refuses %s=%s', (variable, value, expected) => {
        const { status, stderr } = spawnSync(
          process.execPath,
          ['-r', './scripts/register_ts.cjs', '-e', "require('./lib').availableDevices()"],
          { cwd: ROOT, encoding: 'utf8', env: { ...process.env, [variable]: value } },
        );
        expect({ status, stderr }).toEqual({
          status: 2,
          stderr: `[ptxsim] ${variable}: expected ${expected}, got '${value}'\n`,
        });
      });
    }
  });
