/** Runs a file in a process of its own: what the executor reads once, and what a process does only once. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the file prints, as JSON, and what the executor found, where there is one. */
export function runChild(
  file: string,
  variables: NodeJS.ProcessEnv = {},
): { printed: unknown; stderr: string; findings: unknown[] } {
  const folder = mkdtempSync(join(tmpdir(), 'child-'));
  const report = join(folder, 'report.json');
  const args = ['-r', join(__dirname, '..', '..', 'scripts', 'register_ts.cjs'), join(__dirname, file)];
  const env = { ...process.env, ...variables, PTXSIM_REPORT: report };
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
  const { findings } = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : { findings: [] };
  rmSync(folder, { recursive: true });
  if (status !== 0) throw new Error(`${file} ended with status ${status}: ${stderr}`);
  return { printed: JSON.parse(stdout), stderr, findings };
}
