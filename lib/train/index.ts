export { type GuidanceConfig, planSteps, type StepPlan, type TrainConfig } from './config';
export { loadModel } from './load_model';
export type { AdamWConfig, MuonConfig, OptimizerConfig, OptimizerFactory } from './optimizer';
export { type ModelReport, type RunOptions, type RunSource, type TrainEvent, train } from './run';
export { trainInWorker } from './train_in_worker';
export { DivergedError, type Evaluation, evaluate, type StepReport, Trainer, type TrainerOptions } from './trainer';
