/** `structured-ffn train`. */
import { resolve } from 'node:path';
import { generateText, loadDecoder } from '../decode';
import type { RunRecord } from '../report/record';
import { checkReport, writeReport } from '../report/report';
import type { Tokenizer } from '../text';
import { useThreads } from '../threads';
import { type RunChanges, type TrainEvent, trainInWorker } from '../train';
import { UsageError } from './failure';
import { onOutputLost, SIGNAL_CODES } from './output';
import { checkOutside } from './outside';
import { barProgress, jsonProgress, lineProgress, type Progress } from './progress';
import { openRunFolder, type RunFolder } from './run_folder';
import { printSummary } from './summary';
import { planTraining, type TrainOptions, type TrainPlan } from './train_plan';

const SAMPLE_TOKENS = 120;

function progressFor(json: boolean | undefined): Progress {
  if (json) return jsonProgress();
  return process.stderr.isTTY ? barProgress() : lineProgress();
}

/**
 * Ctrl-C, other signals that end processes, and a reader of the output that went away ask a run to stop after its step.
 * The exit code says which it was. A second Ctrl-C ends the process.
 */
function stoppable(say: (line: string) => void): AbortSignal {
  const controller = new AbortController();
  const stop = (code: number, why: string) => {
    if (controller.signal.aborted) return;
    process.exitCode = code;
    controller.abort();
    say(`${why}: finishing the step and saving`);
  };
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(SIGNAL_CODES.SIGINT);
    stop(SIGNAL_CODES.SIGINT, 'interrupted (once more to exit at once)');
  });
  for (const name of ['SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop(SIGNAL_CODES[name], name));
  onOutputLost((code, message) => {
    if (message !== '' && !controller.signal.aborted) process.stderr.write(`error: ${message}\n`);
    stop(code, 'the output is no longer read');
  });
  return controller.signal;
}

async function runToEnd(
  plan: TrainPlan,
  folder: RunFolder | null,
  progress: Progress,
  signal: AbortSignal,
): Promise<RunRecord> {
  const events: TrainEvent[] = [];
  const start = performance.now();
  try {
    for await (const event of trainInWorker(plan.source, { signal })) {
      events.push(event);
      progress.event(event);
      const failure = event.type === 'checkpoint' ? folder?.saved(event.folder, plan.config.data) : undefined;
      if (failure) progress.say(`warning: ${failure}`);
    }
  } finally {
    progress.end();
  }
  return { plan, events, seconds: (performance.now() - start) / 1000 };
}

/** Checks before the first step what comes after the last one: the sample and the report. @throws {UsageError} */
async function checkEnd({ sample, report, json }: TrainOptions, { tokenizer, config }: TrainPlan): Promise<void> {
  if (sample !== undefined && tokenizer !== null && !json) {
    const { length } = tokenizer.encode(sample);
    const { seqLen } = config.model;
    if (length === 0 || length > seqLen)
      throw new UsageError(`--sample: expected a text of 1 to ${seqLen} tokens, the model's context; got ${length}`);
  }
  if (report === undefined) return;
  checkOutside(`--report ${report}`, report, config.checkpoint);
  await checkReport(resolve(report));
}

/** What the trained model writes after `prompt`; the same each time. */
async function sampleText(checkpoint: string, tokenizer: Tokenizer, prompt: string): Promise<string> {
  using decoder = loadDecoder(checkpoint).decoder;
  const options = { maxNewTokens: SAMPLE_TOKENS, temperature: 0.8, topK: 40, seed: 1 };
  let text = prompt;
  for await (const piece of generateText(decoder, tokenizer, prompt, options)) text += piece;
  return text;
}

/**
 * @param changes for a run that goes on.
 * @param repeated what the options file of a new run holds.
 */
export async function trainCommand(
  options: TrainOptions,
  changes: RunChanges,
  repeated: Readonly<Record<string, unknown>>,
): Promise<void> {
  const progress = progressFor(options.json);
  // Workers share the process's pool, so this holds for the training thread too.
  const fewer = options.threads === undefined ? null : useThreads('--threads', options.threads);
  if (fewer !== null) process.stderr.write(`warning: ${fewer}\n`);
  using folder = options.resume === undefined ? openRunFolder(options.out, options.force, repeated) : null;
  const plan = planTraining(options, folder, changes, progress.say);
  await checkEnd(options, plan);
  const record = await runToEnd(plan, folder, progress, stoppable(progress.say));
  const saved = record.events.findLast((event) => event.type === 'checkpoint');
  const aborted = record.events.some((event) => event.type === 'end' && event.reason === 'aborted');
  const sample =
    options.sample !== undefined && plan.tokenizer !== null && saved !== undefined && !aborted && !options.json
      ? await sampleText(saved.folder, plan.tokenizer, options.sample)
      : null;
  if (!options.json) printSummary(record, sample);
  if (options.report !== undefined) {
    await writeReport(resolve(options.report), record, sample);
    progress.say(`report: ${resolve(options.report)}`);
  }
}
