/** Failures of the device are told as what they are. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { availableDevices } from '../../lib';

test('the CPU has no such failures', () => expect(availableDevices()).toContain('cpu'));

if (availableDevices().includes('cuda'))
  test('a failure of earlier work, met by an allocation, is not taken for a lack of memory', () => {
    const folder = mkdtempSync(join(tmpdir(), 'failure-'));
    const args = ['-r', join(__dirname, '..', '..', 'scripts', 'register_ts.cjs'), join(__dirname, 'failure_child.ts')];
    // The access is meant to be wrong: a report of it is not for the run of tests that this is a part of.
    const env = { ...process.env, PTXSIM_REPORT: join(folder, 'report.json') };
    const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    expect({ stderr, ...JSON.parse(stdout) }).toMatchObject({
      name: 'SffnError',
      code: 'ERR_CUDA',
      message: expect.stringMatching(/allocating memory: an illegal memory access/),
    });
  });
