/** The machine on which the figures were measured. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { availableIsas, cudaStatus } from '../../lib/device';
import { native } from '../../lib/native';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly isas: readonly string[];
  /** Sizes as the system gives them, such as 'L2 1024K'. */
  readonly caches: readonly string[];
  readonly memoryGiB: number;
  /** The GPU, or why there is none. Older files do not have it. */
  readonly cuda?: string;
  readonly system: string;
  readonly node: string;
  readonly commit: string;
  readonly date: string;
  /**
   * Average number of runnable processes over the last minute, at the start and at the end: other work disturbs
   * figures.
   */
  readonly load: readonly number[];
}

/** Whether the GPU is really tools/ptxsim, whose times mean nothing. */
export const isExecutor = ({ cuda }: Pick<Machine, 'cuda'>): boolean => cuda?.includes('PTX executor') ?? false;

function caches(): string[] {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  const read = (index: number, name: string) => readFileSync(join(folder, `index${index}`, name), 'utf8').trim();
  const found: string[] = [];
  for (let i = 0; existsSync(join(folder, `index${i}`)); i++)
    if (read(i, 'type') !== 'Instruction') found.push(`L${read(i, 'level')} ${read(i, 'size')}`);
  return found;
}

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: __dirname, encoding: 'utf8', stdio: 'pipe' });
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no').trim() === '' ? '' : ' with changes';
    return git('rev-parse', '--short', 'HEAD').trim() + changed;
  } catch {
    return 'unknown';
  }
}

export const currentLoad = (): number => Number((loadavg()[0] ?? 0).toFixed(2));

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: native.availableCores(),
    isas: availableIsas(),
    caches: caches(),
    cuda: cudaStatus(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
    commit: commit(),
    date: new Date().toISOString(),
    load: [currentLoad()],
  };
}
