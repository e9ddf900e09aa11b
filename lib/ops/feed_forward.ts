/** The whole feedforward network, fc2(act(fc1(x))), as one kernel call forward and one backward. */
import { needsGrad, record } from '../autograd';
import { runNative, ShapeError } from '../errors';
import { native } from '../native';
import { checkKeys } from '../options';
import type { Tensor } from '../tensor';
import { ACTIVATION_CODES, type Activation, activatedFeatures, checkActivation } from './activation';
import { checkSameKind, checkTensor, emptyAs, gradientFor, handleOf, rowsOf } from './check';
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
  const shape = [...x.shape.slice(0, -1), second.dims.outFeatures];
  const residual = checkResidual(where, options.residual, x, shape);
  const y = emptyAs(shape, x);

  const parameters = [...weightsOf(first), ...weightsOf(second)];
  const inputs = [x, ...parameters, residual].filter((t) => t !== null);
  const saving = needsGrad(...inputs);
  const buffer = (wanted: boolean, features: number) => (saving && wanted ? emptyAs([n, features], x) : null);
  const h1 = buffer(first.v !== null, first.dims.hidden);
  const pre = buffer(true, first.dims.outFeatures);
  const h2 = buffer(second.v !== null, second.dims.hidden);
  const numbers = [
    n,
    first.dims.sizes,
    second.dims.sizes,
    first.factorScale,
    first.guideScale,
    second.factorScale,
    second.guideScale,
    ACTIVATION_CODES[activation],
  ] as const;
  runNative(() =>
    native.ffn_forward(
      x.handle,
      handleOf(first.v),
      first.u.handle,
      handleOf(first.guide),
      handleOf(first.bias),
      handleOf(second.v),
      second.u.handle,
      handleOf(second.guide),
      handleOf(second.bias),
      handleOf(residual),
      handleOf(h1),
      handleOf(pre),
      handleOf(h2),
      y.handle,
      ...numbers,
    ),
  );

  return record(y, inputs, (dy) => {
    const dx = gradientFor(x);
    const gradients = parameters.map(gradientFor);
    const [dv1, du1, dguide1, dbias1, dv2, du2, dguide2, dbias2] = gradients;
    native.ffn_backward(
      dy.handle,
      x.handle,
      handleOf(first.v),
      first.u.handle,
      handleOf(first.guide),
      handleOf(second.v),
      second.u.handle,
      handleOf(second.guide),
      handleOf(h1),
      handleOf(pre),
      handleOf(h2),
      handleOf(dx),
      handleOf(dv1),
      handleOf(du1),
      handleOf(dguide1),
      handleOf(dbias1),
      handleOf(dv2),
      handleOf(du2),
      handleOf(dguide2),
      handleOf(dbias2),
      ...numbers,
    );
    for (const saved of [h1, pre, h2]) saved?.dispose();
    return [dx, ...gradients.filter((_, i) => parameters[i] !== null), ...(residual ? [dy] : [])];
  });
}

const weightsOf = ({ v, u, guide, bias }: CheckedLinear): readonly (Tensor | null)[] => [v, u, guide, bias];
