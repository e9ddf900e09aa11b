/**
 * The goals of the kernels: times faster than PyTorch, eager, in the same run. The goals were set from a prototype that
 * was measured before the first kernel of this project, on another processor (Ice Lake, two AVX-512 units a core).
 */

import { groupBy } from '../harness/group_by';
import { groupOf, type Result } from '../harness/results';
import { OURS } from '../harness/side';
import { quantile } from '../harness/statistics';
import type { Figures } from './figures';
import { table } from './markdown';

interface Column {
  readonly title: string;
  readonly phase: string;
  readonly tokens: (count: number) => boolean;
}

const isMany = (count: number): boolean => count >= 512;

const COLUMNS: readonly Column[] = [
  { title: '1 token', phase: 'forward', tokens: (count) => count === 1 },
  { title: '8 tokens', phase: 'forward', tokens: (count) => count === 8 },
  { title: '64 tokens', phase: 'forward', tokens: (count) => count === 64 },
  { title: '512 and more', phase: 'forward', tokens: isMany },
  { title: '64, with backward', phase: 'forward+backward', tokens: (count) => count === 64 },
  { title: '512 and more, with backward', phase: 'forward+backward', tokens: isMany },
];

/** Goals in the order of the columns. `than`: PyTorch's same structure, or its dense layer. */
const ROWS: readonly {
  readonly variant: string;
  readonly than: 'same' | 'dense';
  readonly goals: readonly number[];
}[] = [
  { variant: 'dense', than: 'dense', goals: [1.3, 3.2, 1.5, 1.0, 1.1, 1.0] },
  { variant: 'lowrank 32 %', than: 'same', goals: [1.4, 3.0, 1.4, 1.05, 1.15, 1.0] },
  { variant: 'lowrank 32 %', than: 'dense', goals: [3.5, 9.5, 4.5, 3.0, 3.4, 2.9] },
  { variant: 'blockshuffle B=4', than: 'same', goals: [1.6, 2.8, 2.0, 1.4, 1.3, 1.45] },
  { variant: 'blockshuffle B=4', than: 'dense', goals: [3.4, 9, 4.5, 2.8, 2.8, 2.6] },
  { variant: 'blockdense 32 %', than: 'same', goals: [1.6, 3.6, 1.5, 1.15, 1.1, 1.05] },
];

/** Of each shape and token count of the column. */
function speedups(groups: readonly Result[][], column: Column, variant: string, than: string): number[] {
  return groups.flatMap((group) => {
    const [first] = group;
    // Few tokens on cold weights; files from before the hot ones do not say it.
    if (!first || first.phase.replace(', cold', '') !== column.phase || !column.tokens(first.tokens)) return [];
    const ours = group.find((result) => result.side === OURS && result.variant === variant);
    const theirs = group.find((result) => result.side === 'pytorch' && result.variant === than);
    return ours && theirs ? [theirs.median / ours.median] : [];
  });
}

function cell(ratios: readonly number[], goal: number): string {
  if (ratios.length === 0) return '';
  const sorted = [...ratios].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const [low, high] = [sorted[0]!, sorted[sorted.length - 1]!];
  const text = `${median.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
  return `${median >= goal ? `**${text}**` : text}, goal ${goal}`;
}

/** A table of goals and results; empty when PyTorch took no part. */
export function goalsTable({ results }: Figures): string {
  const own = results.filter(({ suite, side }) => suite === 'kernels' && (side === OURS || side === 'pytorch'));
  if (!own.some(({ side }) => side === 'pytorch')) return '';
  const groups = [...groupBy(own, groupOf).values()];
  const lines = ROWS.map(({ variant, than, goals }) => [
    `${variant} / PyTorch ${than === 'same' ? 'same structure' : 'dense'}`,
    ...COLUMNS.map((column, i) =>
      cell(speedups(groups, column, variant, than === 'same' ? variant : 'dense'), goals[i] ?? 0),
    ),
  ]);
  return `## Goals

Times faster than PyTorch: the median over all shapes and token counts (smallest–largest), bold where it reaches the goal.

${table(['ours / theirs', ...COLUMNS.map(({ title }) => title)], lines)}

`;
}
