/** The element type in which a training step is fastest. */
import { checkDevice, type Device, getIsa } from '../device';
import type { TrainConfig } from './config';

/**
 * bfloat16 on processors that multiply its pairs, which is twice the arithmetic of float32. float32 everywhere else: there
 * bfloat16 is widened, or nobody has measured it.
 * @throws {OptionError | DeviceError}
 */
export function fastestPrecision(device: Device = 'cpu'): NonNullable<TrainConfig['precision']> {
  checkDevice('fastestPrecision: device', device);
  return device === 'cpu' && getIsa() === 'avx512bf16' ? 'bfloat16' : 'float32';
}
