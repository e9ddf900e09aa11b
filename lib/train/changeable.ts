/** The names of what may differ in a run that goes on. Everything else in its config is what the run is. */
export const CHANGEABLE = [
  'steps',
  'learningRate',
  'minLearningRate',
  'schedule',
  'decayPart',
  'batchSize',
  'gradientAccumulation',
  'weightDecay',
  'maxGradNorm',
  'evalEvery',
  'evalRows',
  'saveEvery',
  'keepBest',
  'patience',
  'device',
  'recordSteps',
] as const;
