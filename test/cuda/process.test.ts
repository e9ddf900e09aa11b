/** What has a process of its own: failures of the device, told as what they are, and the first use of its kernels. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { availableDevices } from '../../lib';

/** What the file prints, as JSON, and what the executor found, where there is one. */
function run(file: string): { printed: unknown; stderr: string; findings: unknown[] } {
  const folder = mkdtempSync(join(tmpdir(), 'child-'));
  const report = join(folder, 'report.json');
  const args = ['-r', join(__dirname, '..', '..', 'scripts', 'register_ts.cjs'), join(__dirname, file)];
  const env = { ...process.env, PTXSIM_REPORT: report };
  const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
  const { findings } = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : { findings: [] };
  rmSync(folder, { recursive: true });
  return { printed: JSON.parse(stdout), stderr, findings };
}

test('the CPU has no such failures', () => expect(availableDevices()).toContain('cpu'));

if (availableDevices().includes('cuda')) {
  test('a failure of earlier work, met by an allocation, is not taken for a lack of memory', () => {
    expect(run('failure_child.ts').printed).toMatchObject({
      name: 'SffnError',
      code: 'ERR_CUDA',
      message: expect.stringMatching(/allocating memory: an illegal memory access/),
    });
  }, 60_000);

  test('a step of decoding has loaded its kernels before it is recorded', () => {
    expect(run('first_step_child.ts')).toEqual({ printed: { same: true }, stderr: '', findings: [] });
  }, 60_000);
}
