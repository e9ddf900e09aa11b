/** Callbacks of both kinds in one list, which tfjs's `fit` does not take: it judges all of them by the first. */
import type { LayersModel, Tfjs } from './tfjs';

type FitArgs = NonNullable<Parameters<LayersModel['fit']>[2]>;
type DatasetArgs = Parameters<LayersModel['fitDataset']>[1];

const done = new WeakSet<LayersModel>();

/**
 * Lets `fit` and `fitDataset` of this model take plain objects, such as a guide, beside objects of tfjs's own classes, such
 * as `tf.callbacks.earlyStopping()`, in any order.
 */
export function mixCallbacks(tf: Tfjs, model: LayersModel): void {
  if (done.has(model)) return;
  done.add(model);
  // What all of tfjs's callbacks extend; it has no public name.
  const Base = Object.getPrototypeOf(tf.CustomCallback) as Tfjs['CustomCallback'];
  const mixed = <T extends FitArgs | DatasetArgs>(args: T): T => {
    const { callbacks, yieldEvery } = args;
    if (!Array.isArray(callbacks) || !callbacks.some((one) => one instanceof Base)) return args;
    const all = callbacks.map((one) => (one instanceof Base ? one : new tf.CustomCallback(one, yieldEvery)));
    return { ...args, callbacks: all };
  };
  const fit = model.fit.bind(model);
  const fitDataset = model.fitDataset.bind(model);
  model.fit = (x, y, args = {}) => fit(x, y, mixed(args));
  model.fitDataset = (dataset, args) => fitDataset(dataset, mixed(args));
}
