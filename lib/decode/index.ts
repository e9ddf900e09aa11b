export { DecodeSequence } from './cache';
export { Decoder, type DecoderOptions, type DecoderStats, type StepEntry } from './decoder';
export type { DispatchMode, DispatchStats } from './dispatch';
export { type BatchToken, type GenerateOptions, generate, generateBatch, type Timing } from './generate';
export { type GenerateTextOptions, generateText } from './generate_text';
export type { WeightDType } from './matrix';
export { Sampler, type SamplingOptions } from './sampling';
export type { Crossover, CrossoverTable } from './table';
