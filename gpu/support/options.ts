/** The options of every stage's script; gpu/torch/common.py takes the same. */
import { parseArgs } from 'node:util';
import type { Device } from '../../lib/device';
import type { DType } from '../../lib/dtype';
import { checkChoice, checkNumber } from '../../lib/errors';
import { type Origin, OURS, type Row, SIZES, type Size, STAGE_LETTERS, type Stage, writeRow } from './rows';

export const DEVICES = ['cpu', 'cuda'] as const satisfies readonly Device[];

export class Script implements Origin {
  readonly stage: Stage;
  /** The name of this script's command in gpu/plan.ts. */
  readonly command: string;
  readonly device: Device;
  readonly size: Size;
  /** The file to which rows are appended; without it they are printed. */
  readonly results: string | undefined;
  /** After this time a script begins nothing new. */
  readonly seconds: number;
  /** Parts of the script's work, by names that it knows, separated by commas. */
  readonly only: readonly string[] | undefined;
  readonly #begin = performance.now();

  /** @throws {TypeError} for an unknown option. @throws {OptionError} for a value that makes no sense. */
  constructor(args: readonly string[] = process.argv.slice(2)) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        stage: { type: 'string', default: 'a' },
        command: { type: 'string', default: '' },
        device: { type: 'string', default: 'cuda' },
        size: { type: 'string', default: 'full' },
        results: { type: 'string' },
        seconds: { type: 'string', default: '60' },
        only: { type: 'string' },
      },
    });
    const { stage, command, device, size, results, only } = values;
    const seconds = Number(values.seconds);
    checkChoice('--stage', stage, STAGE_LETTERS);
    checkChoice('--device', device, DEVICES);
    checkChoice('--size', size, SIZES);
    checkNumber('--seconds', seconds, 0);
    this.stage = stage;
    this.command = command;
    this.device = device;
    this.size = size;
    this.results = results;
    this.seconds = seconds;
    this.only = only?.split(',');
  }

  /** The type that ours computes in: bfloat16 is for devices. */
  get dtype(): DType {
    return this.device === 'cuda' ? 'bfloat16' : 'float32';
  }

  get timeIsUp(): boolean {
    return performance.now() - this.#begin > 1e3 * this.seconds;
  }

  emit(row: Row): void {
    writeRow(this.results, this, row);
  }

  fail(at: string, error: unknown): void {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.emit({ kind: 'failure', side: OURS, at, message: message.slice(0, 500) });
    process.exitCode = 1;
  }

  /** Whether a part is wanted. */
  wants(name: string): boolean {
    return this.only?.includes(name) ?? true;
  }

  /** @throws {OptionError} if --only names an unknown part. */
  checkParts(names: readonly string[]): void {
    for (const name of this.only ?? []) checkChoice('--only', name, names);
  }
}
