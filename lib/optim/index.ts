export { AdamW, type AdamWOptions, type ParameterGroup } from './adamw';
export { clipGradNorm, GradientClip } from './clip';
export { type NamedParameter, type ParameterKind, type ParameterSource, parameterGroups } from './groups';
export { Muon, type MuonOptions, type NewtonSchulzOptions, newtonSchulz } from './muon';
export {
  isRecordable,
  type Optimizer,
  type OptimizerState,
  type RecordableOptimizer,
  type StepOptions,
  type UpdateResult,
} from './optimizer';
export {
  constantSchedule,
  cosineSchedule,
  type DecayOptions,
  linearSchedule,
  type Schedule,
  type ScheduleName,
  type StableOptions,
  wsdSchedule,
} from './schedule';
