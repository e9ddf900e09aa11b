/** How tfjs differentiates the kernels. */
import { parseAttributes, plainAttributes } from './attributes';
import { composed } from './composed';
import { gradOf, KERNELS } from './kernels';
import { named } from './operands';
import { runKernel, type Tensor, type Tfjs } from './tfjs';

/**
 * Gradients of all operands at once: tfjs asks for them one by one, but they share most of their work. Called outside of any
 * gradient, that is one native kernel. While an outer gradient records, what is done here must itself be differentiable, so
 * it is left to tfjs's own ops.
 */
export function registerGradients(tf: Tfjs): void {
  for (const kernel of KERNELS) {
    if (tf.getGradient(kernel)) continue;
    tf.registerGradient({
      kernelName: kernel,
      saveAllInputs: true,
      // y is not needed; of the saved ones there are at most three.
      outputsToSave: [false, true, true, true],
      gradFunc: (dys, saved, attrs) => {
        const attributes = parseAttributes(kernel, attrs);
        const { operands } = attributes;
        const dy = Array.isArray(dys) ? dys[0]! : dys;
        const gradients = tf.engine().isTapeOn()
          ? tf.grads((...inputs: Tensor[]) => composed(tf, named(operands, inputs), attributes))(
              saved.slice(0, operands.length),
              dy,
            )
          : runKernel(tf, gradOf(kernel), [dy, ...saved], {
              operands: [...operands],
              ...plainAttributes(attributes),
            });
        return Object.fromEntries(gradients.map((gradient, i) => [String(i), () => gradient]));
      },
    });
  }
}
