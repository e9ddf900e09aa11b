/** The learning rate of a run, as its config has it. */
import { constantSchedule, cosineSchedule, linearSchedule, type Schedule, wsdSchedule } from '../optim';
import { DEFAULT_WARMUP, planSteps, type TrainConfig } from './config';

/** The rate at each step. The config was checked. */
export function learningRateOf(config: TrainConfig): Schedule {
  const { schedule = 'cosine', learningRate: peak, warmup = DEFAULT_WARMUP, decayPart = 0.2 } = config;
  const { minLearningRate = peak / 10 } = config;
  const { total: totalSteps } = planSteps(config);
  const warmupSteps = Math.round(warmup * totalSteps);
  const minRatio = peak === 0 ? 0 : minLearningRate / peak;
  switch (schedule) {
    case 'cosine':
      return cosineSchedule({ peak, totalSteps, warmupSteps, minRatio });
    case 'linear':
      return linearSchedule({ peak, totalSteps, warmupSteps, minRatio });
    case 'wsd':
      return wsdSchedule({ peak, totalSteps, warmupSteps, minRatio, decaySteps: Math.round(decayPart * totalSteps) });
    case 'constant':
      return constantSchedule({ peak, warmupSteps });
  }
}
