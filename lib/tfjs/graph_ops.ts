/** The kernels as ops of graph models: nodes with their names execute wherever `install` was called. */
import { OptionError } from '../errors';
import { parseCall } from './attributes';
import { KERNELS } from './kernels';
import { checkTfTensor, type TfOps } from './ops';
import type { Tfjs } from './tfjs';

/** Names of the weights among a node's inputs, such as 'v,u,bias'. The first input is x. */
export const OPERANDS = 'operands';

export function registerGraphOps(tf: Tfjs, ops: TfOps): void {
  for (const kernel of KERNELS)
    tf.registerOp(kernel, ({ inputs, attrs }) => {
      const { [OPERANDS]: operands } = attrs;
      if (typeof operands !== 'string') throw new OptionError(`${kernel}: ${OPERANDS}`, 'names of weights', operands);
      const [x, ...weights] = inputs;
      const names = operands.split(',');
      if (x === undefined || names.length !== weights.length)
        throw new OptionError(`${kernel}: ${OPERANDS}`, `x and ${names.length} weights`, `${inputs.length} inputs`);
      for (const [i, weight] of weights.entries()) checkTfTensor(`${kernel}: ${names[i]}`, weight);
      const named = weights.map((weight, i): [string, typeof weight] => [names[i]!, weight]);
      return ops.run(kernel, kernel, x, named, parseCall(kernel, attrs));
    });
}
