/** Normalisation over the last dimension. */
import { needsGrad, record } from '../autograd';
import { checkNumber, runNative } from '../errors';
import { kernels } from '../kernels';
import { empty, type Tensor } from '../tensor';
import { checkSameKind, checkSameShape, checkTensor, emptyLike, gradientsFor, rowsOf } from './check';

/** The default term added to the variance. */
export const NORM_EPS = 1e-5;

/** (x − mean) / √(variance + eps) · weight + bias; x [..., features], weight and bias [features]. */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor | null = null, eps = NORM_EPS): Tensor {
  const features = checkNorm('layerNorm', x, weight, eps);
  if (bias) {
    checkTensor('layerNorm: bias', bias);
    checkSameShape('layerNorm: bias', bias, [features]);
  }
  const n = rowsOf('layerNorm: x', x, features);
  checkSameKind('layerNorm', x, weight, bias);
  const y = emptyLike(x);
  const mean = empty([n], 'float32', x.device);
  const rstd = empty([n], 'float32', x.device);
  runNative(() => kernels.layer_norm_forward({ x, weight, bias, y, mean, rstd, n, features, eps }));
  const inputs = bias ? [x, weight, bias] : [x, weight];
  if (!needsGrad(...inputs)) for (const saved of [mean, rstd]) saved.dispose();

  const backward = (dy: Tensor) => {
    const [dx, dweight, dbias] = gradientsFor(x, weight, bias);
    kernels.layer_norm_backward({ dy, x, weight, mean, rstd, dx, dweight, dbias, n, features });
    for (const saved of [mean, rstd]) saved.dispose();
    return [dx, dweight, dbias];
  };
  return record(y, inputs, backward, [x, weight]);
}

/** x / √(mean(x²) + eps) · weight; x [..., features], weight [features]. */
export function rmsNorm(x: Tensor, weight: Tensor, eps = NORM_EPS): Tensor {
  const features = checkNorm('rmsNorm', x, weight, eps);
  const n = rowsOf('rmsNorm: x', x, features);
  const y = emptyLike(x);
  checkSameKind('rmsNorm', x, weight);
  const rstd = empty([n], 'float32', x.device);
  runNative(() => kernels.rms_norm_forward({ x, weight, y, rstd, n, features, eps }));
  if (!needsGrad(x, weight)) rstd.dispose();

  const backward = (dy: Tensor) => {
    const [dx, dweight] = gradientsFor(x, weight);
    kernels.rms_norm_backward({ dy, x, weight, rstd, dx, dweight, n, features });
    rstd.dispose();
    return [dx, dweight];
  };
  return record(y, [x, weight], backward, [x, weight]);
}

function checkNorm(where: string, x: Tensor, weight: Tensor, eps: number): number {
  checkTensor(`${where}: x`, x);
  checkTensor(`${where}: weight`, weight);
  checkNumber(`${where}: eps`, eps, 0);
  const features = x.shape[x.rank - 1] ?? 0;
  checkSameShape(`${where}: weight`, weight, [features]);
  return features;
}
