/** Computing in another element type than that of tfjs's tensors, which are float32. */
import type { Operand } from '../../types/native';
import { checkChoice, runNative } from '../errors';
import { kernels } from '../kernels';
import { Storage } from '../storage';

export const COMPUTE_DTYPES = ['float32', 'bfloat16'] as const;

/** What kernels compute on. Sums are float32 in both. */
export type ComputeDType = (typeof COMPUTE_DTYPES)[number];

/** @throws {OptionError} */
export function checkComputeDType(where: string, value: unknown): asserts value is ComputeDType {
  checkChoice(where, value, COMPUTE_DTYPES);
}

type Compute = (inputs: readonly Operand[], outputs: readonly Operand[]) => void;

/** Calls `compute` on the arrays, or on bfloat16 copies of the inputs and for outputs that are widened. @throws {OutOfMemoryError} */
export function computeIn(
  dtype: ComputeDType,
  inputs: readonly Float32Array[],
  outputs: readonly Float32Array[],
  compute: Compute,
): void {
  if (dtype === 'float32') {
    compute(inputs, outputs);
    return;
  }
  const copies: Storage[] = [];
  const allocate = ({ length }: Float32Array): Storage => {
    const copy = new Storage(length, dtype);
    copies.push(copy);
    return copy;
  };
  try {
    const narrowed = inputs.map((x) => {
      const y = allocate(x);
      runNative(() => kernels.cast({ x, y }));
      return y;
    });
    const results = outputs.map(allocate);
    compute(narrowed, results);
    for (const [i, x] of results.entries()) runNative(() => kernels.cast({ x, y: outputs[i]! }));
  } finally {
    for (const copy of copies) copy.dispose();
  }
}
