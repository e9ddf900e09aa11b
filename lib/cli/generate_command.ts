/** `structured-ffn generate`. */
import {
  type ActivationDType,
  type CacheDType,
  type DispatchMode,
  generateText,
  loadDecoder,
  type Timing,
  type WeightDType,
} from '../decode';
import type { Device } from '../device';
import { checkNumber } from '../errors';
import { UsageError } from './failure';
import { tokenizerOf } from './tokenizer_option';
import { measuredTable } from './tune_command';

export interface GenerateCommandOptions {
  readonly prompt: string;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly stop?: readonly string[];
  readonly seed: number;
  readonly dtype?: WeightDType;
  readonly cacheDtype: CacheDType;
  readonly activations?: ActivationDType;
  readonly device: Device;
  readonly dispatch: DispatchMode;
  /** Megabytes. */
  readonly mergeBudget?: number;
}

/** `12 tokens, 340.1 tokens/s`. */
function rate(timings: readonly Timing[], phase: Timing['phase']): string {
  const own = timings.filter((timing) => timing.phase === phase);
  const tokens = own.reduce((sum, timing) => sum + timing.tokens, 0);
  const milliseconds = own.reduce((sum, timing) => sum + timing.milliseconds, 0);
  return `${phase} ${tokens} tokens, ${tokens === 0 ? 0 : ((tokens / milliseconds) * 1000).toFixed(1)} tokens/s`;
}

/** The text goes to standard output, the speed to standard error. */
export async function generateCommand(checkpoint: string, options: GenerateCommandOptions): Promise<void> {
  const { prompt, device, dispatch, mergeBudget, dtype, cacheDtype, activations, ...rest } = options;
  if (dispatch === 'factored' && mergeBudget !== undefined)
    throw new UsageError(`--merge-budget ${mergeBudget}: it goes with --dispatch merged or auto`);
  if (mergeBudget !== undefined) checkNumber('generate: mergeBudget', mergeBudget, 0);
  const { decoder: loaded, tokenizerFile } = loadDecoder(checkpoint, {
    dtype,
    cacheDtype,
    activations,
    device,
    dispatch,
    mergeBudget: mergeBudget === undefined ? undefined : mergeBudget * 1e6,
    table: dispatch === 'auto' ? measuredTable(checkpoint, device, dtype, activations) : undefined,
  });
  using decoder = loaded;
  const timings: Timing[] = [];
  const pieces = generateText(decoder, tokenizerOf(tokenizerFile), prompt, {
    ...rest,
    onTiming: (timing) => timings.push(timing),
  });
  // Nothing is printed for a refused prompt.
  let next = await pieces.next();
  process.stdout.write(prompt);
  for (; !next.done; next = await pieces.next()) process.stdout.write(next.value);
  process.stdout.write('\n');
  process.stderr.write(`${rate(timings, 'prefill')}; ${rate(timings, 'decode')}\n`);
  const { factored, merged, overBudget, mergedBytes } = decoder.stats().dispatch;
  if (dispatch !== 'factored')
    process.stderr.write(
      `dispatch: ${factored} layer calls factored (${overBudget} over the budget), ${merged} merged; ` +
        `${(mergedBytes / 1e6).toFixed(1)} MB of merged copies\n`,
    );
}
