/** What the whole says: how many times faster ours is than each rival, by kind of work, precision and structure. */
import { groupBy } from '../harness/group_by';
import { fastest, opponentsOf, timesFaster } from '../harness/opponents';
import { groupOf, type Result, rates } from '../harness/results';
import { isOursOnCpu, PRECISIONS, precisionOf } from '../harness/side';
import { summarize } from '../harness/statistics';
import type { Figures } from './figures';
import { percent, table } from './markdown';

/** Figures in one line: all shapes and, but for decoding, all token counts of the phase. */
function workOf({ suite, op, phase, tokens }: Result): string {
  if (suite === 'training') return op;
  if (op === 'prompt') return `prompt of ${tokens}`;
  return suite === 'decode' ? `decode, batch ${tokens}` : `${op}, ${phase}`;
}

const isSummed = ({ suite, phase, variant, unit }: Result): boolean =>
  unit === 'ms' &&
  !/^kernel|percentile|alone/.test(phase) &&
  !/ (merged|auto)$/.test(variant) &&
  ['kernels', 'ffn', 'training', 'decode'].includes(suite);

/** The median, and the range where there are several. */
function cell(values: readonly (number | undefined)[], format: (value: number) => string): string {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return '';
  const median = format(summarize(known).median);
  return known.length === 1 ? median : `${median} (${format(Math.min(...known))}–${format(Math.max(...known))})`;
}

/** A table for each opponent; empty when nobody took part. */
export function summaryTables({ results, peaks }: Figures): string {
  const own = results.filter(isSummed);
  const groups = groupBy(own, groupOf);
  const opponents = [...new Set(PRECISIONS.flatMap((precision) => opponentsOf(own, precision)))];
  return opponents
    .map((opponent) => {
      const compared = own.filter(isOursOnCpu).flatMap((ours) => {
        const group = groups.get(groupOf(ours)) ?? [];
        const [same, dense] = [ours.variant, 'dense'].map((variant) =>
          fastest(group, opponent, precisionOf(ours), variant),
        );
        return same || dense ? [{ ours, same: timesFaster(ours, same), dense: timesFaster(ours, dense) }] : [];
      });
      const rows = groupBy(compared, ({ ours }) => [workOf(ours), precisionOf(ours), ours.variant].join(' | '));
      const lines = [...rows.values()].map((cases) => {
        const { ours } = cases[0]!;
        const ratio = (value: number) => value.toFixed(2);
        const { flopsShare } = rates(ours, peaks);
        return [
          workOf(ours),
          precisionOf(ours),
          ours.variant,
          cell(
            cases.map(({ same }) => same),
            ratio,
          ),
          cell(
            cases.map(({ dense }) => dense),
            ratio,
          ),
          flopsShare === undefined
            ? ''
            : cell(
                cases.map((one) => rates(one.ours, peaks).flopsShare),
                percent,
              ),
        ];
      });
      const ways = [...new Set(own.map(({ side }) => side))].filter((side) => side.split(' ')[0] === opponent);
      const text = `Times faster than the fastest in the same precision of: ${ways.join(', ')}. Median (smallest–largest) over shapes and token counts.`;
      const header = ['work', 'precision', 'structure', 'same structure', 'its dense', 'of peak'];
      return `## Against ${opponent}\n\n${ways.length > 0 ? `${text}\n\n` : ''}${table(header, lines)}\n\n`;
    })
    .join('');
}
