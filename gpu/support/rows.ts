/**
 * The results of the stages, as JSON lines in `results.jsonl`. Every script appends a row as soon as it has it, so that
 * a script that is killed keeps its rows. gpu/torch/common.py writes the same rows.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import type { Device } from '../../lib/device';

export const STAGES = {
  a: 'device and probe',
  b: 'correctness',
  c: 'sanitizers and machine code',
  d: 'kernels',
  e: 'training steps',
  f: 'decoding',
  g: 'profiles of kernels',
} as const;

export type Stage = keyof typeof STAGES;

export const STAGE_LETTERS = Object.keys(STAGES) as Stage[];

/** full: fills a GPU; small: takes seconds on a CPU or under a sanitizer; tiny: the same on the PTX executor. */
export const SIZES = ['full', 'small', 'tiny'] as const;

export type Size = (typeof SIZES)[number];

/** The beginning of a command; rows of its earlier runs in the file do not count any more. */
export interface BeginRow {
  readonly kind: 'begin';
  /** ISO 8601. */
  readonly date: string;
  readonly commit: string;
  readonly device: Device;
  readonly size: Size;
  /** Names of values of nvidia-smi, such as 'name' and 'driver_version'; empty without nvidia-smi. */
  readonly card: Readonly<Record<string, string>>;
}

export const OUTCOMES = ['passed', 'failed', 'killed', 'skipped'] as const;

/** The end of a command. */
export interface EndRow {
  readonly kind: 'end';
  /** killed: it ran past its limit. skipped: `detail` says what it needs. */
  readonly outcome: (typeof OUTCOMES)[number];
  readonly seconds: number;
  readonly detail?: string;
}

/** Something about the machine. */
export interface FactRow {
  readonly kind: 'fact';
  readonly name: string;
  readonly value: number | string;
  readonly unit?: string;
}

/** One comparison of stage b. */
export interface CheckRow {
  readonly kind: 'check';
  readonly suite: string;
  readonly name: string;
  readonly passed: boolean;
  readonly detail?: string;
}

/** One file of jest's tests. */
export interface TestsRow {
  readonly kind: 'tests';
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly string[];
}

/** What one tool of compute-sanitizer found. */
export interface SanitizerRow {
  readonly kind: 'sanitizer';
  readonly tool: string;
  /** Null if the tool never printed its summary. */
  readonly errors: number | null;
  /** The parts of gpu/one_of_each.ts that it completed, out of `wanted`. */
  readonly parts: readonly string[];
  readonly wanted: readonly string[];
  readonly first?: string;
}

/** Instructions in a kernel's machine code. */
export interface SassRow {
  readonly kind: 'sass';
  readonly kernel: string;
  readonly architecture: string;
  readonly wgmma: number;
  readonly mma: number;
  /** Loads and stores of local memory: spills. */
  readonly local: number;
}

/** The side of a row that is not a rival's. */
export const OURS = 'structured-ffn';

/** The command that runs jest. */
export const TESTS = 'tests';

/** The time of one call of a layer, a feedforward network or attention. */
export interface KernelRow {
  readonly kind: 'kernel';
  readonly side: string;
  readonly problem: string;
  readonly microseconds: number;
  /** Of the host alone. */
  readonly enqueueMicroseconds?: number;
  readonly tflops: number;
  /** Kernels of products that one call launches, and how often each. */
  readonly launches?: Readonly<Record<string, number>>;
  /** Such as 'CHAINS=off', if kernels were chosen by hand. */
  readonly switches?: string;
}

/** A training step: forward, loss, backward, clipping, AdamW. */
export interface TrainingRow {
  readonly kind: 'training';
  readonly side: string;
  readonly job: string;
  readonly tokens: number;
  readonly milliseconds: number;
  readonly tokensPerSecond: number;
  readonly peakGigabytes: number | null;
  readonly setupSeconds: number;
  readonly losses: readonly number[];
  readonly tflops?: number;
  readonly enqueueMilliseconds?: number;
  /** Garbage collections of a step, and their time. */
  readonly collections?: number;
  readonly collectionMilliseconds?: number;
  /** How often a measured step asked the system for memory; should be 0. */
  readonly systemAllocations?: number;
}

/** A decoding step: one new token for each sequence of a batch. */
export interface DecodingRow {
  readonly kind: 'decoding';
  readonly side: string;
  readonly job: string;
  readonly dtype: string;
  readonly batch: number;
  readonly context: number;
  readonly milliseconds: number;
  readonly tokensPerSecond: number;
  readonly weightGigabytes: number;
  readonly prefillTokensPerSecond?: number;
}

/** What ncu reports about one launch. */
export interface ProfileRow {
  readonly kind: 'profile';
  readonly kernel: string;
  readonly grid: string;
  readonly metrics: Readonly<Record<string, string>>;
}

/** Something that a timing script could not do; it goes on with the next. */
export interface FailureRow {
  readonly kind: 'failure';
  readonly side: string;
  readonly at: string;
  readonly message: string;
}

/** How much a timing script did in its time. */
export interface CoverageRow {
  readonly kind: 'coverage';
  readonly side: string;
  readonly done: number;
  readonly of: number;
}

export type Row =
  | BeginRow
  | EndRow
  | FactRow
  | CheckRow
  | TestsRow
  | SanitizerRow
  | SassRow
  | KernelRow
  | TrainingRow
  | DecodingRow
  | ProfileRow
  | FailureRow
  | CoverageRow;

/** Who wrote a row: a command of gpu/plan.ts. */
export interface Origin {
  readonly stage: Stage;
  readonly command: string;
}

/** A row as it is in the file. */
export type FiledRow = Row & Origin;

/** Appends a row to `file`, or prints it if there is no file. */
export function writeRow(file: string | undefined, { stage, command }: Origin, row: Row): void {
  const line = `${JSON.stringify({ stage, command, ...row })}\n`;
  if (file === undefined) process.stdout.write(line);
  else appendFileSync(file, line);
}

/** The rows of several runs; a later run replaces what it repeats. */
export function readRows(files: readonly string[]): FiledRow[] {
  const rows = files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line): FiledRow[] => {
        try {
          return line === '' ? [] : [JSON.parse(line)];
        } catch {
          // Cut off when a process was killed.
          return [];
        }
      }),
  );
  const key = ({ stage, command }: Origin) => `${stage} ${command}`;
  const begins = new Map(rows.flatMap((row, i) => (row.kind === 'begin' ? [[key(row), i] as const] : [])));
  return rows.filter((row, i) => i >= (begins.get(key(row)) ?? 0));
}
