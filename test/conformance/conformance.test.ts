/** The project's own reference cases, and the verdicts of the command that runs any folder of them. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native } from '../../lib/native';
import { onEveryIsa } from '../support/check_op';
import { readCase } from './cases';

const ROOT = join(__dirname, '..', '..');
const FOLDER = join(ROOT, 'test', 'fixtures', 'reference');
const files = readdirSync(FOLDER).filter((file) => file.endsWith('.safetensors'));

test.each(files)('%s', async (file) => {
  const { compute, computeAsync, compare } = readCase(join(FOLDER, file));
  const threads = native.numThreads();
  onEveryIsa((isa) => {
    for (const count of [1, 2]) {
      native.setNumThreads(count);
      const exceeding = compare(compute()).filter(({ error, limit }) => !(error <= limit));
      expect({ isa, count, exceeding }).toEqual({ isa, count, exceeding: [] });
    }
  });
  native.setNumThreads(threads);
  expect(await computeAsync()).toEqual(compute());
});

describe('npm run conformance', () => {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['-r', './scripts/register_ts.cjs', 'test/conformance/run.ts', ...args],
      { cwd: ROOT, encoding: 'utf8' },
    );
    return { status, stdout, stderr };
  };

  test('fails without a folder, for a missing one and for one without reference files', () => {
    expect(run()).toMatchObject({ status: 1, stderr: expect.stringContaining('usage') });
    expect(run(join(folder, 'none'))).toMatchObject({ status: 1, stderr: expect.stringContaining('ENOENT') });
    expect(run(folder)).toMatchObject({ status: 1, stderr: expect.stringContaining('no .safetensors file') });
  });

  test('passes a good file, then fails for a wrong value and for a file cut short', () => {
    const file = 'blockshuffle-9.safetensors';
    const target = join(folder, file);
    copyFileSync(join(FOLDER, file), target);
    expect(run(folder)).toMatchObject({ status: 0, stdout: expect.stringContaining(' 0 problems') });

    const bytes = readFileSync(target);
    bytes.writeFloatLE(1000, bytes.length - 4);
    writeFileSync(target, bytes);
    expect(run(folder)).toMatchObject({ status: 1, stderr: expect.stringContaining('exceeds its limit') });

    writeFileSync(target, bytes.subarray(0, bytes.length - 4));
    expect(run(folder)).toMatchObject({ status: 1, stderr: expect.stringContaining('cut short') });
  });
});
