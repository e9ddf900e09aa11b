/** The entry: native kernels for the user's own tfjs. */
import { registerGradients } from './gradients';
import { registerKernels } from './kernels';
import { TfOps } from './ops';
import type { Tfjs } from './tfjs';

/**
 * Registers the kernels and their gradients on the backends cpu, wasm and tensorflow of `tf`, and returns the ops. May be
 * called again, in any order with `tf.setBackend`.
 */
export function install(tf: Tfjs): TfOps {
  registerKernels(tf);
  registerGradients(tf);
  return new TfOps(tf);
}
