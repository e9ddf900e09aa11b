/** A whole run: steps, evaluations and checkpoints, told as events. */
import type { FlopsPerToken } from '../nn';
import { checkKeys } from '../options';
import type { StepPlan, TrainConfig } from './config';
import { type Evaluation, type StepReport, TRAINER_OPTIONS, Trainer, type TrainerOptions } from './trainer';

/** What the model costs, told once at the start. */
export interface ModelReport {
  readonly parameters: number;
  readonly ffnParameters: { readonly structured: number; readonly dense: number };
  readonly flopsPerToken: FlopsPerToken;
}

export type TrainEvent =
  | ({ readonly type: 'start'; readonly firstStep: number; readonly plan: StepPlan } & ModelReport)
  | ({ readonly type: 'step' } & StepReport)
  | ({ readonly type: 'evaluation'; readonly step: number; readonly final: boolean } & Evaluation)
  | { readonly type: 'checkpoint'; readonly step: number; readonly folder: string }
  | { readonly type: 'end'; readonly step: number; readonly reason: 'finished' | 'aborted' };

/** A new run, or one that goes on from a checkpoint folder. */
export type RunSource = { readonly config: TrainConfig } | { readonly resume: string };

export interface RunOptions {
  /** When it aborts, the step under way is finished, a checkpoint is written, and the run ends. */
  readonly signal?: AbortSignal;
}

/** Trains in this thread. @throws {DivergedError} and what Trainer throws. */
export async function* train(source: RunSource, options: RunOptions & TrainerOptions = {}): AsyncGenerator<TrainEvent> {
  checkKeys('train', options, { ...TRAINER_OPTIONS, signal: 0 });
  const { signal, ...own } = options;
  using trainer = 'resume' in source ? Trainer.resume(source.resume, own) : new Trainer(source.config, own);
  const { config, plan, model } = trainer;
  const folder = config.checkpoint ?? ('resume' in source ? source.resume : undefined);
  yield {
    type: 'start',
    firstStep: trainer.step,
    plan,
    parameters: model.numParameters(),
    ffnParameters: model.ffnParameters(),
    flopsPerToken: model.flopsPerToken(config.seqLen),
  };
  const due = (every: number | undefined, step: number) =>
    every !== undefined && step % every === 0 && step < plan.total;
  const hasValidation = config.data.validation !== undefined;
  for await (const report of trainer.steps({ signal })) {
    yield { type: 'step', ...report };
    const { step } = report;
    if (hasValidation && due(config.evalEvery, step))
      yield {
        type: 'evaluation',
        step,
        final: false,
        ...(await trainer.evaluate({ maxRows: config.evalRows ?? 64 })),
      };
    if (folder !== undefined && due(config.saveEvery, step)) {
      trainer.save(folder);
      yield { type: 'checkpoint', step, folder };
    }
  }
  if (folder !== undefined) {
    trainer.save(folder);
    yield { type: 'checkpoint', step: trainer.step, folder };
  }
  if (hasValidation && trainer.finished)
    yield { type: 'evaluation', step: trainer.step, final: true, ...(await trainer.evaluate()) };
  yield { type: 'end', step: trainer.step, reason: trainer.finished ? 'finished' : 'aborted' };
}
