/** Runs the built command line (`npm test` builds it first) in a folder that is removed after the tests. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestRandom } from '../support/random';

export const MAIN = join(__dirname, '..', '..', 'dist', 'cli', 'main.js');
export const folder = mkdtempSync(join(tmpdir(), 'cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

const env = { ...process.env, NO_COLOR: '1' };

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function cli(args: readonly string[], extra: NodeJS.ProcessEnv = {}): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...env, ...extra },
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

export const start = (args: readonly string[]): ChildProcess =>
  spawn(process.execPath, [MAIN, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });

/** The objects of a `--json` run; a line that is none fails the test. */
export const jsonLines = (stdout: string): Record<string, unknown>[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line));

const WORDS = 'the ship sails over a calm sea and the crew sings of home under many stars'.split(' ');

/** Sentences of a few words: little to learn, so little time to learn it. */
export function writeText(name: string, sentences: number, seed: number): string {
  const random = new TestRandom(seed);
  const sentence = () => Array.from({ length: 6 }, () => WORDS[random.int(0, WORDS.length - 1)]).join(' ');
  const path = join(folder, name);
  writeFileSync(path, Array.from({ length: sentences }, () => `${sentence()}.\n`).join(''));
  return path;
}
