/** The file of a run: its figures, and the machine. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { readJson } from '../../lib/io/files';
import { isObject } from '../../lib/options';
import type { Machine } from './machine';
import type { Peak } from './peak';
import { isOurs, isOursOnCpu, precisionOf } from './side';
import type { Summary } from './statistics';

export type Unit = 'ms' | 'bytes' | 'count' | 'share';

export interface Result extends Summary {
  readonly suite: string;
  /** What was computed: linear, ffn, training step, ... */
  readonly op: string;
  readonly phase: string;
  /** '768x3072', or a model's name. */
  readonly shape: string;
  readonly tokens: number;
  readonly threads: number;
  readonly isa: string;
  /** Structure and size. */
  readonly variant: string;
  /** Whose implementation. */
  readonly side: string;
  readonly unit: Unit;
  /** Floating-point operations by the formula; 0 where they do not matter. */
  readonly flops: number;
  /** Bytes that must move at least. */
  readonly bytes: number;
  /** Relative difference from our own results; null for ourselves. */
  readonly error: number | null;
}

export interface ResultFile {
  readonly format: 'structured-ffn-bench';
  readonly version: 1;
  readonly command: string;
  readonly machine: Machine;
  /** The rivals that took part. */
  readonly rivals: readonly string[];
  readonly peaks: readonly Peak[];
  readonly results: readonly Result[];
}

/** The same figure has the same key in another run. */
export const keyOf = (r: Result): string =>
  [r.suite, r.op, r.phase, r.shape, r.tokens, r.threads, r.isa, r.variant, r.side].join(' | ');

/** Figures that compare the same work: all variants and sides of one op, shape and token count. */
export const groupOf = (r: Result): string =>
  [r.suite, r.op, r.phase, r.shape, r.tokens, r.threads, r.isa, r.unit].join(' | ');

/** The number of digits kept, so that pages from a file and from the run are the same. */
const DIGITS = 9;

/** One figure a line, so that the file stays readable. */
export function formatResults({ results, ...about }: ResultFile): string {
  const rounded = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value;
  const lines = results.map((result) => JSON.stringify(result, rounded));
  return `${JSON.stringify(about, rounded).slice(0, -1)},"results":[\n${lines.join(',\n')}\n]}\n`;
}

export function writeResults(path: string, file: ResultFile): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, formatResults(file));
}

/** @throws {Error} when the file is not one of ours. */
export function readResults(path: string): ResultFile {
  const value = readJson(path);
  if (!isObject(value) || value.format !== 'structured-ffn-bench' || value.version !== 1)
    throw new Error(`${path} holds no benchmark results of version 1`);
  return value as object as ResultFile;
}

/** For a figure that is counted, not sampled. */
export const exactly = (value: number): Summary => ({ median: value, p25: value, p75: value, count: 1 });

/** GFLOP/s and GB/s of a timing, and their parts of the machine's peak. */
export function rates(result: Result, peaks: readonly Peak[]) {
  // The peaks are the CPU's.
  const onCpu = isOursOnCpu(result) || !isOurs(result);
  const peak = onCpu ? peaks.find(({ isa, threads }) => isa === result.isa && threads === result.threads) : undefined;
  const gflops = result.flops / result.median / 1e6;
  const gbps = result.bytes / result.median / 1e6;
  const limit = { float32: peak?.gflops, bfloat16: peak?.bfloat16 ?? peak?.gflops, int8: undefined }[
    precisionOf(result)
  ];
  return { gflops, gbps, flopsShare: limit && gflops / limit, bytesShare: peak && gbps / peak.gbps };
}
