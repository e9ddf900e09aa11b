export * from './attention';
export * from './block_dense';
export * from './block_shuffle';
export { type Factors, nearestFactors } from './compress';
export * from './embedding';
export * from './feed_forward';
export * from './guidance';
export { INIT_STD, type Init, initBySvd, initWeight } from './init';
export * from './linear';
export { type LinearForward, LinearLayer, type LinearLayerOptions, type Structure } from './linear_layer';
export * from './low_rank';
export * from './module';
export * from './norm';
export * from './self_guided';
export type { ChosenSizes, SizeOptions } from './sizes';
export * from './structures';
export * from './transformer';
export {
  type AttentionConfig,
  checkTransformerConfig,
  type FeedForwardConfig,
  PRESET_NAMES,
  PRESETS,
  type PresetName,
  presetConfig,
  type ResolvedConfig,
  resolveConfig,
  type TransformerConfig,
} from './transformer_config';
