/** The whole feedforward network, fc2(act(fc1(x))), as one kernel call forward and one backward. */
import { needsGrad, record } from '../autograd';
import { runNative, ShapeError } from '../errors';
import { kernels } from '../kernels';
import { native } from '../native';
import { checkKeys } from '../options';
import { withLast } from '../sizes';
import type { Tensor } from '../tensor';
import { type Activation, activatedFeatures, checkActivation } from './activation';
import { checkSameKind, checkTensor, emptyAs, gradientsFor, rowsOf } from './check';
import {
  type CheckedLinear,
  checkLinear,
  checkResidual,
  type LinearOptions,
  type LinearWeights,
  linearOutput,
} from './linear';

/**
 * fc2(act(fc1(x))) + residual: x [..., d] → [..., d_out], the shape of the residual. For swiglu fc1 makes twice the
 * features that fc2 takes. Only the pre-activation and the factors' intermediates are kept for backward; the activation
 * is computed again there.
 * @throws {ShapeError} when the layers do not fit each other.
 */
export function feedForward(
  x: Tensor,
  fc1: LinearWeights,
  fc2: LinearWeights,
  activation: Activation,
  options: Pick<LinearOptions, 'residual'> = {},
): Tensor {
  const where = 'feedForward';
  checkKeys(where, options, { residual: 0 });
  checkActivation(`${where}: activation`, activation);
  checkTensor(`${where}: x`, x);
  const first = checkLinear(`${where}: fc1`, fc1);
  const second = checkLinear(`${where}: fc2`, fc2);
  const n = rowsOf(`${where}: x`, x, first.dims.inFeatures);
  linearOutput(`${where}: fc1`, x, first.dims, activation);
  const hiddenFeatures = activatedFeatures(activation, first.dims.outFeatures);
  if (second.dims.inFeatures !== hiddenFeatures)
    throw new ShapeError(`${where}: fc2`, `${hiddenFeatures} input features`, String(second.dims.inFeatures));
  checkSameKind(where, x, first.u, second.u);
  const shape = withLast(x.shape, second.dims.outFeatures);
  const residual = checkResidual(where, options.residual, x, shape);
  const y = emptyAs(shape, x);

  const parameters = [...weightsOf(first), ...weightsOf(second)] as const;
  const inputs = [x, ...parameters, residual].filter((t) => t !== null);
  const saving = needsGrad(...inputs);
  const buffer = (wanted: boolean, features: number) => (saving && wanted ? emptyAs([n, features], x) : null);
  const h1 = buffer(first.v !== null, first.dims.hidden);
  const pre = buffer(true, first.dims.outFeatures);
  const h2 = buffer(second.v !== null, second.dims.hidden);
  const { v: v1, u: u1, guide: guide1, bias: bias1, factorScale: factor_scale1, guideScale: guide_scale1 } = first;
  const { v: v2, u: u2, guide: guide2, bias: bias2, factorScale: factor_scale2, guideScale: guide_scale2 } = second;
  const [dims1, dims2, code] = [first.dims.sizes, second.dims.sizes, native.activations[activation]];
  runNative(() =>
    kernels.ffn_forward({
      x,
      v1,
      u1,
      guide1,
      bias1,
      v2,
      u2,
      guide2,
      bias2,
      residual,
      h1,
      pre,
      h2,
      y,
      n,
      dims1,
      dims2,
      factor_scale1,
      guide_scale1,
      factor_scale2,
      guide_scale2,
      activation: code,
    }),
  );

  const backward = (dy: Tensor) => {
    const [dx] = gradientsFor(x);
    const gradients = gradientsFor(...parameters);
    const [dv1, du1, dguide1, dbias1, dv2, du2, dguide2, dbias2] = gradients;
    kernels.ffn_backward({
      dy,
      x,
      v1,
      u1,
      guide1,
      v2,
      u2,
      guide2,
      h1,
      pre,
      h2,
      dx,
      dv1,
      du1,
      dguide1,
      dbias1,
      dv2,
      du2,
      dguide2,
      dbias2,
      n,
      dims1,
      dims2,
      factor_scale1,
      guide_scale1,
      factor_scale2,
      guide_scale2,
      activation: code,
    });
    for (const saved of [h1, pre, h2]) saved?.dispose();
    return [dx, ...gradients.filter((_, i) => parameters[i] !== null), ...(residual ? [dy] : [])];
  };
  return record(y, inputs, backward, [x, v1, u1, guide1, v2, u2, guide2]);
}

const weightsOf = ({ v, u, guide, bias }: CheckedLinear) => [v, u, guide, bias] as const;
