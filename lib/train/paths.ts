/** The paths in a run's config: absolute while it runs, and found again where the run was moved or copied. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { wayInto } from '../io/files';
import type { TrainConfig } from './config';
import type { TrainerState } from './load_model';

/** The config with absolute paths: the working folder may change during the run. */
export function withAbsolutePaths(config: TrainConfig): TrainConfig {
  const { data, tokenizer, init, checkpoint } = config;
  const absolute = <T extends string | undefined>(path: T) => (path === undefined ? path : (resolve(path) as T));
  return {
    ...config,
    data: { ...data, train: absolute(data.train), validation: absolute(data.validation) },
    tokenizer: tokenizer === 'byte' ? tokenizer : absolute(tokenizer),
    init: absolute(init),
    checkpoint: absolute(checkpoint),
  };
}

/** Of the token files that lie in the folder of a run, the paths from there. */
export interface TokensBeside {
  readonly train?: string;
  readonly validation?: string;
}

/** The folder of a run: the one that its checkpoint lies in. */
const runFolder = (checkpoint: string): string => dirname(resolve(checkpoint));

/** What a checkpoint at `checkpoint` has to remember of its token files. */
export function tokensBeside({ train, validation }: TrainConfig['data'], checkpoint: string): TokensBeside {
  const folder = runFolder(checkpoint);
  return {
    train: wayInto(folder, train),
    validation: validation === undefined ? undefined : wayInto(folder, validation),
  };
}

/**
 * The config of a checkpoint, which may have been moved or copied together with its token files. They are looked for
 * beside the checkpoint, then where they were.
 */
export function foundConfig({ config, data }: TrainerState, checkpoint: string): TrainConfig {
  const { train, validation } = data?.beside ?? {};
  const find = <T extends string | undefined>(part: string | undefined, before: T) => {
    if (part === undefined) return before;
    const path = join(runFolder(checkpoint), part);
    return existsSync(path) ? path : before;
  };
  return {
    ...config,
    data: {
      ...config.data,
      train: find(train, config.data.train),
      validation: find(validation, config.data.validation),
    },
  };
}
