/** The kernels that tfjs runs, forward and backward, and their registration. */
import { DEFINITIONS } from '../structures';
import type { Shape } from '../tensor';
import { type KernelAttributes, parseAttributes } from './attributes';
import { computeIn } from './compute_dtype';
import { withMemory } from './memory';
import { type Named, named, operand } from './operands';
import { ffnProblem, linearProblem, type Problem } from './problem';
import type { NamedAttrMap, NamedTensorInfoMap, TensorInfo, Tfjs } from './tfjs';

/** Kernels of one layer differ in the shapes of their factors only. */
const PROBLEMS: Readonly<Record<string, (where: string, shapes: Named<Shape>, attrs: KernelAttributes) => Problem>> = {
  ...Object.fromEntries(Object.values(DEFINITIONS).map(({ kernel }) => [kernel, linearProblem])),
  StructuredFFN: ffnProblem,
};

export const KERNELS = Object.keys(PROBLEMS);

/** Those that people run in Node. A name without a backend does no harm. */
export const BACKENDS: readonly string[] = ['cpu', 'wasm', 'tensorflow'];

/** The kernel of another kernel's gradients: from dy, its operands and what it saved to the gradient of each operand. */
export const gradOf = (kernel: string): string => `${kernel}Grad`;

interface Call {
  readonly inputs: NamedTensorInfoMap;
  readonly backend: object;
  readonly attrs?: NamedAttrMap;
}

/** Inputs that came as an array; tfjs's types call every list of inputs a map. */
const listed = (inputs: NamedTensorInfoMap): TensorInfo[] =>
  Object.values(inputs).filter((info): info is TensorInfo => info !== undefined);

const shapesOf = (infos: Named<TensorInfo>): Named<Shape> =>
  new Map([...infos].map(([name, { shape }]): [string, Shape] => [name, shape]));

function forward(kernel: string, { inputs, backend, attrs }: Call): TensorInfo[] {
  const attributes = parseAttributes(kernel, attrs);
  const infos = named(attributes.operands, listed(inputs));
  const problem = PROBLEMS[kernel]!(kernel, shapesOf(infos), attributes);
  const outputs: Named<Shape> = new Map([['y', problem.yShape], ...(attributes.training ? problem.saved : [])]);
  return withMemory(backend, [...infos.values()], [...outputs.values()], (ins, outs) =>
    computeIn(attributes.computeDtype, ins, outs, (inputs, results) =>
      problem.forward(named([...infos.keys()], inputs), named([...outputs.keys()], results)),
    ),
  );
}

function backward(kernel: string, { inputs, backend, attrs }: Call): TensorInfo[] {
  const attributes = parseAttributes(kernel, attrs);
  const [dy, ...rest] = listed(inputs);
  const operands = named(attributes.operands, rest);
  const shapes = shapesOf(operands);
  const problem = PROBLEMS[kernel]!(kernel, shapes, attributes);
  const names = ['dy', ...operands.keys(), ...problem.saved.keys()];
  return withMemory(backend, [dy!, ...rest], [...shapes.values()], (ins, outs) =>
    computeIn(attributes.computeDtype, ins, outs, (inputs, results) => {
      const given = named(names, inputs);
      operand(given, 'dy');
      problem.backward(given, named([...operands.keys()], results));
    }),
  );
}

/** Makes the kernels known to tfjs. Its registry is global, so a second call finds them there. */
export function registerKernels(tf: Tfjs): void {
  for (const backendName of BACKENDS)
    for (const kernel of KERNELS) {
      if (tf.getKernel(kernel, backendName)) continue;
      tf.registerKernel({ kernelName: kernel, backendName, kernelFunc: (call) => forward(kernel, call) });
      tf.registerKernel({ kernelName: gradOf(kernel), backendName, kernelFunc: (call) => backward(kernel, call) });
    }
}
