export * from './activation';
export * from './attention';
export * from './cross_entropy';
export * from './elementwise';
export * from './embedding';
export { feedForward } from './feed_forward';
export type { InnerActivation } from './inner_activation';
export * from './linalg';
export {
  blockDenseLinear,
  blockShuffleLinear,
  type FactorOptions,
  type Guide,
  type LinearOptions,
  type LinearWeights,
  linear,
  lowRankLinear,
  mergeFactors,
  structuredLinear,
} from './linear';
export { type LinearDims, linearDims } from './linear_dims';
export * from './matmul';
export * from './norm';
export { argmax, max, mean, type ReduceOptions, sum } from './reduce';
export * from './shape';
export * from './softmax';
