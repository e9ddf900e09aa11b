/** Regularizers of the structured layers, in every form that tfjs's Dense takes: a name, an object, a saved config. */
import type { Tfjs } from '../tfjs';

/** A regularizer of tfjs: its name, `tf.regularizers.l2({ l2 })`, or a saved config. */
export type TfRegularizer = NonNullable<Parameters<Tfjs['layers']['dense']>[0]['kernelRegularizer']>;

/** Penalties on the weights of a layer, which tfjs adds to the loss in training. */
export interface RegularizerConfig {
  /** Of every factor, or of the weight of a dense layer: its penalties add up, and guides have none. Default: none. */
  readonly kernelRegularizer?: TfRegularizer;
  /** Default: none. */
  readonly biasRegularizer?: TfRegularizer;
}

type Regularizer = Exclude<TfRegularizer, string>;

/** What to penalise by; null for nothing. */
export type Regularizers = Readonly<Record<'kernel' | 'bias', Regularizer | null>>;

const field = (object: object, name: string): unknown => Reflect.get(object, name) ?? undefined;

/** The regularizers of a config, and the config with them in the form in which it is saved. */
export function parseRegularizers<T extends RegularizerConfig>(
  tf: Tfjs,
  config: T,
): { config: T; regularizers: Regularizers } {
  const { kernelRegularizer, biasRegularizer } = config;
  if (!kernelRegularizer && !biasRegularizer) return { config, regularizers: { kernel: null, bias: null } };
  // Only tfjs's layers know all the forms. A layer with a name leaves the names that tfjs gives to others alone.
  const dense = tf.layers.dense({ name: 'regularizers', units: 1, kernelRegularizer, biasRegularizer });
  const saved = dense.getConfig();
  return {
    config: {
      ...config,
      kernelRegularizer: field(saved, 'kernelRegularizer'),
      biasRegularizer: field(saved, 'biasRegularizer'),
    },
    regularizers: {
      kernel: (field(dense, 'kernelRegularizer') ?? null) as Regularizer | null,
      bias: (field(dense, 'biasRegularizer') ?? null) as Regularizer | null,
    },
  };
}
