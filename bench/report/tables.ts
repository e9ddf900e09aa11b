/** The tables of the report, suite by suite. */
import { OURS } from '../harness/contender';
import { formatTime, formatValue } from '../harness/print';
import { groupOf, type Result, rates } from '../harness/results';
import { type Figures, groupBy, rowOf } from './figures';
import { percent, table, times } from './markdown';

const spread = ({ median, p25, p75 }: Result): string => `±${((50 * (p75 - p25)) / median).toFixed(0)} %`;

/**
 * One table for each phase, with a line for each shape, token count and structure: how many times faster than which
 * side.
 */
export function timings({ results, peaks }: Figures, suite: string): string {
  const own = results.filter((result) => result.suite === suite && result.unit === 'ms');
  const sides = [...new Set(own.map(({ side }) => side))].filter((side) => side !== OURS);
  const groups = groupBy(own, groupOf);
  const rows = groupBy(own, rowOf);
  const sections: string[] = [];
  for (const [title, part] of groupBy(
    own,
    ({ op, phase, threads, isa }) => `${op}, ${phase}, ${isa}, ${threads} threads`,
  )) {
    const lines = part
      .filter(({ side }) => side === OURS)
      .map((result) => {
        const group = groups.get(groupOf(result)) ?? [];
        const row = rows.get(rowOf(result)) ?? [];
        const ratio = (other: Result | undefined) => other && other.median / result.median;
        const dense = (side: string) => group.find((other) => other.side === side && other.variant === 'dense');
        const { gflops, gbps, flopsShare, bytesShare } = rates(result, peaks);
        return [
          result.shape,
          String(result.tokens),
          result.variant,
          formatTime(result.median),
          spread(result),
          `${gflops.toFixed(0)} (${percent(flopsShare)})`,
          result.bytes > 0 ? `${gbps.toFixed(1)} (${percent(bytesShare)})` : '',
          result.variant === 'dense' ? '' : times(ratio(dense(OURS))),
          ...sides.flatMap((side) => [
            times(ratio(row.find((other) => other.side === side))),
            times(ratio(dense(side))),
          ]),
        ];
      });
    const compared = sides.flatMap((side) => [`vs ${side}`, `vs ${side} dense`]);
    const header = ['shape', 'tokens', 'structure', 'median', 'spread', 'GFLOP/s', 'GB/s', 'vs our dense', ...compared];
    sections.push(`## ${title}\n\n${table(header, lines)}`);
  }
  return sections.join('\n\n');
}

export function trainingPage({ results, peaks }: Figures): string {
  const own = results.filter(({ suite }) => suite === 'training');
  const steps = own.filter(({ phase }) => phase === 'step');
  const rows = groupBy(steps, rowOf);
  const groups = groupBy(steps, groupOf);
  const share = (result: Result, phase: string) =>
    own.find(
      (o) => o.phase === phase && o.variant === result.variant && o.isa === result.isa && o.threads === result.threads,
    );
  const lines = steps.map((result) => {
    const ratio = (other: Result | undefined) =>
      result.side === OURS ? times(other && other.median / result.median) : '';
    const theirs = groups.get(groupOf(result))?.filter(({ side }) => side !== OURS) ?? [];
    const outside = result.side === OURS ? share(result, 'outside products') : undefined;
    return [
      `${result.isa}, ${result.threads} threads`,
      result.variant,
      result.side,
      formatTime(result.median),
      spread(result),
      ((1000 * result.tokens) / result.median).toFixed(0),
      percent(rates(result, peaks).flopsShare),
      ratio(rows.get(rowOf(result))?.find(({ side }) => side !== OURS)),
      ratio(theirs.find(({ variant }) => variant === 'dense')),
      outside ? formatValue(outside) : '',
    ];
  });
  const header = ['setting', 'structure', 'side', 'step', 'spread', 'tokens/s', 'of peak'];
  const sections = [
    table([...header, 'vs pytorch', 'vs pytorch dense', 'outside products'], lines),
    kernelTable(own.filter(({ phase }) => phase.startsWith('kernel: '))),
  ];
  const memory = results.filter(({ suite }) => suite === 'memory');
  if (memory.length > 0) {
    const cells = memory.map((result) => [result.variant, result.side, result.phase, formatValue(result)]);
    sections.push(`## Memory\n\n${table(['structure', 'side', 'what', 'value'], cells)}`);
  }
  return sections.join('\n\n');
}

/** A step's time by kernel, largest first. */
function kernelTable(results: readonly Result[]): string {
  const variants = [...new Set(results.map(({ variant }) => variant))];
  const kernels = [...groupBy(results, ({ phase }) => phase.replace('kernel: ', ''))];
  const largest = (rows: readonly Result[]) => Math.max(...rows.map(({ median }) => median));
  const lines = kernels
    .sort(([, a], [, b]) => largest(b) - largest(a))
    .map(([name, rows]) => {
      const cell = (variant: string) => rows.find((row) => row.variant === variant);
      return [name, ...variants.map((variant) => formatTime(cell(variant)?.median ?? 0))];
    });
  return `## Time of a step by kernel\n\n${table(['kernel', ...variants], lines)}`;
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
      rows.find((row) => row.variant === variant && row.side === OURS && groupOf(row) === groupOf(auto));
    const [factored, merged] = [other(name), other(`${name} merged`)];
    if (!factored || !merged) return [];
    const better = Math.min(factored.median, merged.median);
    const cells = [factored, merged, auto].map(({ median }) => formatTime(median));
    return [[auto.phase, String(auto.tokens), name, ...cells, times(auto.median / better)]];
  });
  if (lines.length === 0) return '';
  const header = ['', 'batch', 'variant', 'factored', 'merged', 'auto', 'auto against the better'];
  return `## Factored, merged, auto\n\n${table(header, lines)}\n\n`;
}

/** One table for each context: tokens per second and latency by batch size and variant. */
export function decodePage({ results, peaks }: Figures): string {
  const all = results.filter(({ suite }) => suite === 'decode');
  const own = all.filter(({ phase }) => !phase.includes('percentile'));
  const sides = [...new Set(own.map(({ side }) => side))].filter((side) => side !== OURS);
  const sections = [
    ...groupBy(own, ({ shape, phase, isa, threads }) => `${shape}, ${phase}, ${isa}, ${threads} threads`),
  ];
  const tables = sections
    .map(([title, part]) => {
      const lines = part.map((result) => {
        const tail = all.find(
          (other) =>
            other.phase === `${result.phase}, 95th percentile` &&
            rowOf({ ...other, phase: result.phase }) === rowOf(result) &&
            other.side === result.side,
        );
        const dense = (side: string) =>
          part.find((other) => other.side === side && other.variant === 'dense' && other.tokens === result.tokens);
        const ratio = (other: Result | undefined) => (other ? times(other.median / result.median) : '');
        const { gbps, bytesShare } = rates(result, peaks);
        return [
          String(result.tokens),
          result.variant,
          result.side,
          formatTime(result.median),
          tail ? formatTime(tail.median) : '',
          ((1000 * result.tokens) / result.median).toFixed(1),
          result.bytes > 0 ? `${gbps.toFixed(1)} (${percent(bytesShare)})` : '',
          ratio(dense(OURS)),
          ...sides.map((side) => ratio(dense(side))),
        ];
      });
      const header = ['batch', 'variant', 'side', 'median', '95 %', 'tokens/s', 'GB/s', 'vs our dense'];
      return `## ${title}\n\n${table([...header, ...sides.map((side) => `vs ${side} dense`)], lines)}`;
    })
    .join('\n\n');
  return dispatchTable(own) + tables;
}
