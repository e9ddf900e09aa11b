/** A folder that is removed after the tests, and other runtimes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OnnxRequest } from './onnx_child';

const ROOT = join(__dirname, '..', '..');

export const folder = mkdtempSync(join(tmpdir(), 'export-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What a script beside this one answers to requests, in a process of its own (see onnx_child.ts). */
export function runChild<Answer>(script: string, requests: readonly object[]): Answer[] {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['-r', './scripts/register_ts.cjs', join(__dirname, script)],
    { cwd: ROOT, input: JSON.stringify(requests), encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Logits from onnxruntime, or what it said, one for each request. */
export const runOnnx = (requests: readonly OnnxRequest[]): (number[] | string)[] => runChild('onnx_child.ts', requests);
