/** The events of a run, and figures computed from them. */
import type { Baselines } from '../data';
import type { TrainConfig, TrainEvent } from '../train';

export interface RunRecord {
  readonly plan: { readonly config: TrainConfig; readonly baselines: Baselines | null };
  readonly events: readonly TrainEvent[];
  readonly seconds: number;
}

type EventOf<T extends TrainEvent['type']> = Extract<TrainEvent, { type: T }>;

/** Events of one kind, in order. */
export const eventsOf = <T extends TrainEvent['type']>({ events }: RunRecord, type: T): EventOf<T>[] =>
  events.filter((event): event is EventOf<T> => event.type === type);

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
const count = (n: number): string => Math.round(n).toLocaleString('en');

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The results of a run, as rows of a name and a text. */
export function summaryRows(record: RunRecord): [string, string][] {
  const rows: [string, string][] = [];
  const final = eventsOf(record, 'evaluation').findLast((event) => event.final);
  const { baselines } = record.plan;
  if (final) {
    rows.push(['validation loss', `${final.loss.toFixed(4)} nats per token`]);
    rows.push(['perplexity', final.perplexity.toFixed(2)]);
    if (final.bitsPerByte !== null) rows.push(['bits per byte', final.bitsPerByte.toFixed(4)]);
  }
  if (baselines) {
    rows.push(['unigram model', `${baselines.unigram.toFixed(4)} nats per token`]);
    rows.push(['bigram model', `${baselines.bigram.toFixed(4)} nats per token`]);
  }
  const start = eventsOf(record, 'start')[0];
  if (start) {
    const { ffnParameters: ffn, flopsPerToken: flops, parameters } = start;
    const saved = ffn.dense - ffn.structured;
    rows.push(['parameters', `${count(parameters)} while training`]);
    rows.push([
      'feedforward parameters',
      `${count(ffn.structured)}, ${percent(saved, ffn.dense)} fewer than the ${count(ffn.dense)} of dense layers`,
    ]);
    rows.push([
      'FLOPs per token',
      `${count(flops.total)} forward, ${percent(flops.dense - flops.total, flops.dense)} fewer than with dense layers`,
    ]);
  }
  const end = eventsOf(record, 'end')[0];
  if (end && end.flops.total > 0) {
    const { model, guide, optimizer, total } = end.flops;
    const parts = { model, guide, optimizer };
    const named = Object.entries(parts).map(([name, part]) => `${name} ${percent(part, total)}`);
    rows.push(['training FLOPs', `${total.toPrecision(3)}: ${named.join(', ')}`]);
  }
  const steps = eventsOf(record, 'step');
  const skipped = steps.filter((step) => step.skipped).length;
  if (skipped > 0) rows.push(['skipped steps', `${skipped} of ${steps.length}`]);
  if (steps.length > 0)
    rows.push([
      'speed',
      `${count(middle(steps.map((step) => step.tokensPerSecond)))} tokens/s (median); ` +
        `${steps.length} steps in ${record.seconds.toFixed(0)} s, evaluation included`,
    ]);
  const checkpoint = eventsOf(record, 'checkpoint').at(-1);
  if (checkpoint) rows.push(['checkpoint', checkpoint.folder]);
  return rows;
}
