/** The tables of the report, suite by suite. */

import { groupBy } from '../harness/group_by';
import { fastest, opponentsOf, timesFaster } from '../harness/opponents';
import { formatTime, formatValue } from '../harness/print';
import { groupOf, type Result, rates } from '../harness/results';
import { isOursOnCpu, OURS, PRECISIONS, precisionOf, wayOf } from '../harness/side';
import { type Figures, rowOf } from './figures';
import { percent, table, times } from './markdown';

const spread = ({ median, p25, p75 }: Result): string => `±${((50 * (p75 - p25)) / median).toFixed(0)} %`;

/** How many times faster than an opponent, with its way where that says something. */
function timesThan(ours: Result, other: Result | undefined): string {
  if (!other) return '';
  const precision = precisionOf(other);
  const way = [wayOf(other), ...(precision === precisionOf(ours) ? [] : [precision])].join(' ').trim();
  return `${times(timesFaster(ours, other))}${way && ` (${way})`}`;
}

/** Columns of ours against each opponent in a precision: the same structure, and dense. */
function against(opponents: readonly string[]) {
  return {
    header: opponents.flatMap((opponent) => [`vs ${opponent}`, `vs ${opponent} dense`]),
    cells: (ours: Result, group: readonly Result[]) =>
      opponents.flatMap((opponent) =>
        [ours.variant, 'dense'].map((variant) =>
          isOursOnCpu(ours) ? timesThan(ours, fastest(group, opponent, precisionOf(ours), variant)) : '',
        ),
      ),
  };
}

/** Titles of the tables: one for each precision and setting. */
const settingOf = (result: Result): string => `${precisionOf(result)}, ${result.isa}, ${result.threads} threads`;

/**
 * One table for each phase and precision, with a line for each shape, token count and structure: how many times faster
 * than which side.
 */
export function timings({ results, peaks }: Figures, suite: string): string {
  const own = results.filter((result) => result.suite === suite && result.unit === 'ms');
  const groups = groupBy(own, groupOf);
  const sections: string[] = [];
  for (const [title, part] of groupBy(
    own.filter(isOursOnCpu),
    (result) => `${result.op}, ${result.phase}, ${settingOf(result)}`,
  )) {
    const precision = precisionOf(part[0]!);
    const among = part.flatMap((result) => groups.get(groupOf(result)) ?? []);
    const compared = against(opponentsOf(among, precision));
    const reduced = precision !== 'float32';
    const lines = part.map((result) => {
      const group = groups.get(groupOf(result)) ?? [];
      const ours = (side: string, variant: string) =>
        times(
          timesFaster(
            result,
            group.find((other) => other.side === side && other.variant === variant),
          ),
        );
      const { gflops, gbps, flopsShare, bytesShare } = rates(result, peaks);
      return [
        result.shape,
        String(result.tokens),
        result.variant,
        formatTime(result.median),
        spread(result),
        `${gflops.toFixed(0)} (${percent(flopsShare)})`,
        result.bytes > 0 ? `${gbps.toFixed(1)} (${percent(bytesShare)})` : '',
        result.variant === 'dense' ? '' : ours(result.side, 'dense'),
        ...(reduced ? [ours(OURS, result.variant)] : []),
        ...compared.cells(result, group),
      ];
    });
    const header = ['shape', 'tokens', 'structure', 'median', 'spread', 'GFLOP/s', 'GB/s', 'vs our dense'];
    const all = [...header, ...(reduced ? ['vs our float32'] : []), ...compared.header];
    sections.push(`## ${title}\n\n${table(all, lines)}`);
  }
  return sections.join('\n\n');
}

export function trainingPage({ results, peaks }: Figures): string {
  const own = results.filter(({ suite }) => suite === 'training');
  const steps = own.filter(({ phase }) => phase === 'step');
  const groups = groupBy(steps, groupOf);
  const compared = against([...new Set(PRECISIONS.flatMap((precision) => opponentsOf(steps, precision)))]);
  const outsideOf = (result: Result) =>
    own.find((other) => other.phase === 'outside products' && other.side === result.side && sameSetting(other, result));
  const lines = steps.map((result) => {
    const outside = outsideOf(result);
    return [
      `${result.isa}, ${result.threads} threads`,
      result.variant,
      result.side,
      formatTime(result.median),
      spread(result),
      ((1000 * result.tokens) / result.median).toFixed(0),
      percent(rates(result, peaks).flopsShare),
      ...compared.cells(result, groups.get(groupOf(result)) ?? []),
      outside ? formatValue(outside) : '',
    ];
  });
  const header = ['setting', 'structure', 'side', 'step', 'spread', 'tokens/s', 'of peak'];
  const sections = [
    table([...header, ...compared.header, 'outside products'], lines),
    kernelTable(own.filter(({ phase }) => phase.startsWith('kernel: '))),
  ];
  const memory = results.filter(({ suite }) => suite === 'memory');
  if (memory.length > 0) {
    const cells = memory.map((result) => [result.variant, result.side, result.phase, formatValue(result)]);
    sections.push(`## Memory\n\n${table(['structure', 'side', 'what', 'value'], cells)}`);
  }
  return sections.join('\n\n');
}

const sameSetting = (a: Result, b: Result): boolean =>
  a.variant === b.variant && a.isa === b.isa && a.threads === b.threads;

/** A step's time by kernel, largest first. */
function kernelTable(results: readonly Result[]): string {
  const column = (row: Result) => [row.variant, ...(row.side === OURS ? [] : [precisionOf(row)])].join(' ');
  const columns = [...new Set(results.map(column))];
  const kernels = [...groupBy(results, ({ phase }) => phase.replace('kernel: ', ''))];
  const largest = (rows: readonly Result[]) => Math.max(...rows.map(({ median }) => median));
  const lines = kernels
    .sort(([, a], [, b]) => largest(b) - largest(a))
    .map(([name, rows]) => {
      const cell = (title: string) => rows.find((row) => column(row) === title);
      return [name, ...columns.map((title) => formatTime(cell(title)?.median ?? 0))];
    });
  return `## Time of a step by kernel\n\n${table(['kernel', ...columns], lines)}`;
}

export function scalingPage({ results }: Figures): string {
  const sections: string[] = [];
  const tokens = results.filter(({ suite }) => suite === 'tokens');
  if (tokens.length > 0) {
    const lines = tokens.map((r) => [
      r.shape,
      r.variant,
      String(r.tokens),
      formatTime(r.median),
      formatTime(r.median / r.tokens),
    ]);
    lines.sort((a, b) => a[1]!.localeCompare(b[1]!) || Number(a[2]) - Number(b[2]));
    sections.push(`## Tokens\n\n${table(['shape', 'structure', 'tokens', 'median', 'per token'], lines)}`);
  }
  const threads = results.filter(({ suite }) => suite === 'threads');
  const pairs = groupBy(threads, ({ shape, variant, tokens: count }) => `${shape} ${variant} ${count}`);
  const lines = [...pairs.values()].flatMap((pair) => {
    const [one, all] = [...pair].sort((a, b) => a.threads - b.threads);
    if (!one || !all) return [];
    const { shape, variant, tokens: count } = one;
    const speedup = times(one.median / all.median);
    return [
      [shape, variant, String(count), formatTime(one.median), formatTime(all.median), speedup, String(all.threads)],
    ];
  });
  if (lines.length > 0)
    sections.push(
      `## Threads\n\n${table(['shape', 'structure', 'tokens', '1 thread', 'all threads', 'speed-up', 'threads'], lines)}`,
    );
  return sections.join('\n\n');
}

export function overheadPage({ results }: Figures): string {
  const rows = results.filter(({ suite }) => suite === 'overhead');
  return table(
    ['a layer of 1 × 1 on one token', 'median', 'spread'],
    rows.map((r) => [r.op, formatTime(r.median), spread(r)]),
  );
}

/** Factors, merged matrix and the dispatcher's choice, where all three were measured. */
function dispatchTable(rows: readonly Result[]): string {
  const lines = rows.flatMap((auto) => {
    if (!auto.variant.endsWith(' auto')) return [];
    const name = auto.variant.slice(0, -' auto'.length);
    const other = (variant: string) =>
      rows.find((row) => row.variant === variant && row.side === auto.side && groupOf(row) === groupOf(auto));
    const [factored, merged] = [other(name), other(`${name} merged`)];
    if (!factored || !merged) return [];
    const better = Math.min(factored.median, merged.median);
    const cells = [factored, merged, auto].map(({ median }) => formatTime(median));
    return [
      [
        `${auto.op}, ${auto.phase}`,
        String(auto.tokens),
        `${name}, ${precisionOf(auto)}`,
        ...cells,
        times(auto.median / better),
      ],
    ];
  });
  if (lines.length === 0) return '';
  const header = ['', 'batch or tokens', 'variant', 'factored', 'merged', 'auto', 'auto against the better'];
  return `## Factored, merged, auto\n\n${table(header, lines)}\n\n`;
}

/** One table for each context, and for prompts: tokens per second and latency by batch size and variant. */
export function decodePage({ results, peaks }: Figures): string {
  const all = results.filter(({ suite }) => suite === 'decode');
  const own = all.filter(({ phase }) => !phase.includes('percentile'));
  const groups = groupBy(own, groupOf);
  const sections = groupBy(
    own,
    ({ shape, op, phase, isa, threads }) => `${shape}, ${op}, ${phase}, ${isa}, ${threads} threads`,
  );
  const tables = [...sections].map(([title, part]) => {
    const compared = against([...new Set(PRECISIONS.flatMap((precision) => opponentsOf(part, precision)))]);
    const lines = part.map((result) => {
      const tail = all.find(
        (other) =>
          other.phase === `${result.phase}, 95th percentile` &&
          rowOf({ ...other, phase: result.phase }) === rowOf(result) &&
          other.side === result.side,
      );
      const group = groups.get(groupOf(result)) ?? [];
      const dense = group.find(
        (other) => isOursOnCpu(other) && other.variant === 'dense' && precisionOf(other) === precisionOf(result),
      );
      const { gbps, bytesShare } = rates(result, peaks);
      return [
        String(result.tokens),
        result.variant,
        result.side,
        formatTime(result.median),
        tail ? formatTime(tail.median) : '',
        ((1000 * result.tokens) / result.median).toFixed(1),
        result.bytes > 0 ? `${gbps.toFixed(1)} (${percent(bytesShare)})` : '',
        times(timesFaster(result, dense)),
        ...compared.cells(result, group),
      ];
    });
    const count = part[0]!.op === 'prompt' ? 'tokens' : 'batch';
    const header = [count, 'variant', 'side', 'median', '95 %', 'tokens/s', 'GB/s', 'vs our dense'];
    return `## ${title}\n\n${table([...header, ...compared.header], lines)}`;
  });
  return dispatchTable(own) + tables.join('\n\n');
}
