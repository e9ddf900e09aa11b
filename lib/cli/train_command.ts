/** `structured-ffn train`. */
import { resolve } from 'node:path';
import { Decoder, generateText } from '../decode';
import { setNumThreads } from '../device';
import type { RunRecord } from '../report/record';
import { writeReport } from '../report/report';
import type { Tokenizer } from '../text';
import { loadModel, type TrainEvent, trainInWorker } from '../train';
import { barProgress, jsonProgress, lineProgress, type Progress } from './progress';
import { printSummary } from './summary';
import { planTraining, type TrainOptions, type TrainPlan } from './train_plan';

const SAMPLE_TOKENS = 120;

/** Exit code of a process that Ctrl-C ended, as shells have it. */
const INTERRUPTED = 130;

function progressFor(json: boolean | undefined): Progress {
  if (json) return jsonProgress();
  return process.stderr.isTTY ? barProgress() : lineProgress();
}

/** The first Ctrl-C asks the run to stop after its step; the second ends the process. */
function interruptible(say: (line: string) => void): AbortController {
  const controller = new AbortController();
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    controller.abort();
    say('interrupted: finishing the step and saving; once more to exit at once');
  });
  return controller;
}

async function runToEnd(plan: TrainPlan, progress: Progress, signal: AbortSignal): Promise<RunRecord> {
  const events: TrainEvent[] = [];
  const start = performance.now();
  try {
    for await (const event of trainInWorker(plan.source, { signal })) {
      events.push(event);
      progress.event(event);
    }
  } finally {
    progress.end();
  }
  return { plan, events, seconds: (performance.now() - start) / 1000 };
}

/** What the trained model writes after `prompt`; the same each time. */
async function sampleText(checkpoint: string, tokenizer: Tokenizer, prompt: string): Promise<string> {
  const { model } = loadModel(checkpoint);
  using decoder = new Decoder(model);
  const options = { maxNewTokens: SAMPLE_TOKENS, temperature: 0.8, topK: 40, seed: 1 };
  let text = prompt;
  for await (const piece of generateText(decoder, tokenizer, prompt, options)) text += piece;
  model.dispose();
  return text;
}

export async function trainCommand(options: TrainOptions): Promise<void> {
  const progress = progressFor(options.json);
  // Workers share the process's pool, so this holds for the training thread too.
  if (options.threads !== undefined) setNumThreads(options.threads);
  const plan = planTraining(options, progress.say);
  const { signal } = interruptible(progress.say);
  const record = await runToEnd(plan, progress, signal);
  const saved = record.events.find((event) => event.type === 'checkpoint');
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
  if (aborted) process.exitCode = INTERRUPTED;
}
