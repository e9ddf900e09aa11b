export type { BestLoss } from './best';
export type { RecordedChange, RunChanges } from './changes';
export { type GuidanceConfig, planSteps, type StepPlan, type TrainConfig } from './config';
export { type EvaluateOptions, type Evaluation, evaluate } from './evaluate';
export { type RunFlops, runFlops, stepsForFlops, stepsForTokens } from './flops';
export { type LoadedModel, loadModel } from './load_model';
export type { AdamWConfig, MuonConfig, OptimizerConfig, OptimizerFactory } from './optimizer';
export {
  type CheckpointEvent,
  type EndEvent,
  type EvaluationEvent,
  type ModelReport,
  type RunOptions,
  type RunSource,
  type StartEvent,
  type StepEvent,
  type TrainEvent,
  train,
  type WarningEvent,
} from './run';
export type { SkipConfig } from './skipping';
export { trainInWorker } from './train_in_worker';
export {
  DivergedError,
  type ResumeOptions,
  type StepReport,
  Trainer,
  type TrainerOptions,
} from './trainer';
