import type { Context } from '../harness/context';

export interface Suite {
  readonly name: string;
  /** One line for --help. */
  readonly about: string;
  run(context: Context): Promise<void>;
}
