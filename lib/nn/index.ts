export {
  type BlockCounts,
  checkStructure,
  type SizeOptions,
  type Sizes,
  STRUCTURE_NAMES,
  type Structure,
} from '../structures';
export * from './attention';
export { type Factors, nearestFactors } from './compress';
export { countFlops, countParameters, type FlopsPerToken, type ParameterCount } from './cost';
export * from './embedding';
export * from './feed_forward';
export * from './guidance';
export { INIT_STD, type Init, initBySvd, initWeight } from './init';
export * from './linear';
export { type ChosenSizes, type LinearForward, LinearLayer, type LinearLayerOptions } from './linear_layer';
export * from './module';
export * from './norm';
export * from './self_guided';
export * from './transformer';
export {
  type AttentionConfig,
  checkTransformerConfig,
  type FeedForwardConfig,
  PRESET_NAMES,
  PRESETS,
  type Preset,
  type PresetName,
  presetConfig,
  type ResolvedConfig,
  resolveConfig,
  type TransformerConfig,
} from './transformer_config';
