/** Random layers, as the library takes them and as the float64 reference does. */
import type { LinearArrays, LinearSpec } from '../../lib/functional';
import { defineLinear, fromBfloat16, toBfloat16 } from '../../lib/functional';
import { numel } from '../../lib/tensor';
import { relativeError } from '../support/check_op';
import { TestRandom } from '../support/random';
import type { Blocks, ReferenceLayer } from '../support/reference';

export interface RandomLayer {
  readonly spec: LinearSpec;
  readonly arrays: LinearArrays;
  readonly reference: ReferenceLayer;
}

const asBlocks = (shape: readonly number[]): Blocks => {
  const [rows = 0, columns = 0] = shape.slice(-2);
  return [shape.length === 3 ? (shape[0] ?? 0) : 1, rows, columns];
};

/** Random weights for a layer; with `alpha` it has a guide. */
export function randomLayer(spec: LinearSpec, random: TestRandom, alpha?: number): RandomLayer {
  const { shapes } = defineLinear(spec);
  const array = (shape: readonly number[]) => random.array(numel(shape));
  const v = shapes.v ? array(shapes.v) : null;
  const u = array(shapes.u);
  const bias = array(shapes.bias);
  const guide = alpha === undefined ? null : array(shapes.guide);
  const exact = (values: Float32Array | null) => (values ? Float64Array.from(values) : null);
  return {
    spec,
    arrays: { v, u, bias, guide, alpha },
    reference: {
      vShape: shapes.v ? asBlocks(shapes.v) : null,
      uShape: asBlocks(shapes.u),
      v: exact(v),
      u: Float64Array.from(u),
      bias: exact(bias),
      guide: exact(guide),
      alpha,
      inner: spec.innerActivation,
    },
  };
}

/** Numbers that bfloat16 holds exactly. */
export class Bfloat16Random extends TestRandom {
  override array(length: number, low?: number, high?: number): Float32Array {
    return fromBfloat16(toBfloat16(super.array(length, low, high)));
  }
}

/** The weights as bfloat16. */
export function bitsOf({ v, u, bias, guide, alpha }: LinearArrays): LinearArrays<Uint16Array> {
  const bits = (values: Float32Array | null | undefined) => (values ? toBfloat16(values) : null);
  return { v: bits(v), u: toBfloat16(u), bias: bits(bias), guide: bits(guide), alpha };
}

/** Fails with the names of the tensors whose relative error exceeds `limit`. */
export function expectErrorsBelow(
  limit: number,
  pairs: Record<string, readonly [ArrayLike<number> | undefined, ArrayLike<number> | null]>,
): void {
  const exceeding = Object.entries(pairs).flatMap(([name, [ours, reference]]) => {
    if (ours === undefined || reference === null)
      return ours === undefined && reference === null ? [] : [`${name} is missing`];
    const error = relativeError(ours, reference);
    return error <= limit ? [] : [`${name}: ${error}`];
  });
  expect(exceeding).toEqual([]);
}

export { TestRandom };
