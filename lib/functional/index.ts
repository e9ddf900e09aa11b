/**
 * The layers on raw Float32Arrays, or Uint16Arrays of bfloat16, for people with their own training code: no tensors and no gradient graph. Every call
 * comes synchronously and as a Promise that leaves the event loop free.
 */

export type { Structure } from '../structures';
export { fromBfloat16, toBfloat16 } from './bfloat16';
export type { RawArray } from './buffers';
export type { OutArrays } from './call';
export {
  defineFeedForward,
  type FeedForwardBackwardInputs,
  type FeedForwardBackwardOptions,
  type FeedForwardForwardOptions,
  type FeedForwardGradient,
  type FeedForwardGradients,
  type FeedForwardInputs,
  type FeedForwardResult,
  type FeedForwardSaved,
  FunctionalFeedForward,
} from './feed_forward';
export {
  defineLinear,
  FunctionalLinear,
  type LinearBackwardInputs,
  type LinearBackwardOptions,
  type LinearForwardOptions,
  type LinearGradient,
  type LinearGradients,
  type LinearInputs,
  type LinearResult,
  type LinearSaved,
} from './linear';
export type { FactorSpec, FeedForwardSpec, LinearShapes, LinearSpec } from './spec';
export type { LinearArrays } from './weights';
