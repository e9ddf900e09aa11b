/** Figures that the page shows, computed from the rows of the stages. */
import {
  type BeginRow,
  type CheckRow,
  type DecodingRow,
  type EndRow,
  type FiledRow,
  type KernelRow,
  OURS,
  type Row,
  STAGE_LETTERS,
  type Stage,
  type TestsRow,
  type TrainingRow,
} from '../support/rows';

/** The rows of one kind. */
export function ofKind<K extends Row['kind']>(rows: readonly FiledRow[], kind: K) {
  return rows.filter((row): row is Extract<FiledRow, { kind: K }> => row.kind === kind);
}

export const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)];

/** Stages without any command that ran. */
export function missingStages(rows: readonly FiledRow[]): Stage[] {
  const run = new Set(ofKind(rows, 'begin').map(({ stage }) => stage));
  return STAGE_LETTERS.filter((stage) => !run.has(stage));
}

export interface CommandOutcome {
  readonly stage: Stage;
  readonly command: string;
  readonly begin: BeginRow;
  /** Undefined if the whole run ended before the command did. */
  readonly end: EndRow | undefined;
}

export function commandOutcomes(rows: readonly FiledRow[]): CommandOutcome[] {
  const ends = ofKind(rows, 'end');
  return ofKind(rows, 'begin')
    .map((begin) => {
      const { stage, command } = begin;
      return { stage, command, begin, end: ends.find((end) => end.stage === stage && end.command === command) };
    })
    .sort((a, b) => a.stage.localeCompare(b.stage));
}

/** Whether the rows come from a GPU, not from the CPU or the PTX executor. */
export function isOfGpu(rows: readonly FiledRow[]): boolean {
  const begins = ofKind(rows, 'begin');
  const executor = ofKind(rows, 'fact').some(({ value }) => String(value).includes('PTX executor'));
  return begins.length > 0 && begins.every(({ device, card }) => device === 'cuda' && 'name' in card) && !executor;
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

export const countTests = (tests: readonly TestsRow[]): Counts => ({
  passed: tests.reduce((total, { passed }) => total + passed, 0),
  failed: tests.reduce((total, { failed }) => total + failed, 0),
});

export function countChecks(checks: readonly CheckRow[]): Counts {
  const passed = checks.filter((check) => check.passed).length;
  return { passed, failed: checks.length - passed };
}

/** One problem: ours, each rival's row, and how many times longer the rival takes. */
export interface Comparison<T> {
  readonly ours: T;
  readonly rivals: ReadonlyMap<string, { readonly row: T; readonly ratio: number }>;
}

/** Rows of different sides that agree in `key`, by the ratio of their times; only problems that ours has solved. */
export function compareSides<T extends { readonly side: string }>(
  rows: readonly T[],
  key: (row: T) => string,
  time: (row: T) => number,
): Comparison<T>[] {
  const theirs = rows.filter(({ side }) => side !== OURS);
  return rows
    .filter(({ side }) => side === OURS)
    .map((ours) => ({
      ours,
      rivals: new Map(
        theirs
          .filter((row) => key(row) === key(ours))
          .map((row) => [row.side, { row, ratio: time(row) / time(ours) }] as const),
      ),
    }));
}

/** Rows with the kernels that native/cuda/gemm/gemm.cu chooses. */
export const compareKernels = (rows: readonly KernelRow[]): Comparison<KernelRow>[] =>
  compareSides(
    rows.filter(({ switches }) => switches === undefined),
    ({ problem }) => problem,
    ({ microseconds }) => microseconds,
  );

export const compareTraining = (rows: readonly TrainingRow[]): Comparison<TrainingRow>[] =>
  compareSides(
    rows,
    ({ job }) => job,
    ({ milliseconds }) => milliseconds,
  );

/** Weights of other types are also compared with the rival's one type. */
export const compareDecoding = (rows: readonly DecodingRow[]): Comparison<DecodingRow>[] =>
  compareSides(
    rows,
    ({ job, batch, context }) => `${job} ${batch} ${context}`,
    ({ milliseconds }) => milliseconds,
  );

export interface Summary {
  /** Problems that both solved. */
  readonly problems: number;
  /** In how many of these ours took less time. */
  readonly faster: number;
  /** Geometric mean of the ratios. */
  readonly mean: number;
}

export function summarize<T>(comparisons: readonly Comparison<T>[], side: string): Summary {
  const ratios = comparisons.flatMap(({ rivals }) => rivals.get(side)?.ratio ?? []);
  const logarithms = ratios.reduce((total, ratio) => total + Math.log(ratio), 0);
  return {
    problems: ratios.length,
    faster: ratios.filter((ratio) => ratio > 1).length,
    mean: Math.exp(logarithms / ratios.length),
  };
}
