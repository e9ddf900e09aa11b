export { install } from './install';
export { type CopyCounts, copyCounts } from './memory';
export type { TfFeedForwardOptions, TfGuide, TfLayer, TfLinearOptions, TfOps } from './ops';
export type { Tfjs } from './tfjs';
