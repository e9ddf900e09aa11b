/** Causal attention on the fused projection, without a seq × seq matrix in memory. */
import { needsGrad, record } from '../autograd';
import { checkInteger, checkNumber, OptionError, runNative } from '../errors';
import { kernels } from '../kernels';
import { checkKeys } from '../options';
import { empty, type Tensor } from '../tensor';
import { checkSameShape, checkTensor, emptyAs, emptyLike } from './check';

/** Default base of rotary positions (Su et al. 2021). */
export const ROPE_BASE = 10000;

/** Options of `causalAttention`. */
export interface AttentionOptions {
  /** Query heads. */
  heads: number;
  /** Key and value heads; each serves heads / kvHeads query heads. Default: heads. */
  kvHeads?: number;
  /** Base of the rotary positions (halves rotated); 0 for none. Default: 10000. */
  ropeBase?: number;
}

/**
 * softmax(q kᵀ / √headSize, causal) v per head. qkv [batch, seq, (heads + 2·kvHeads)·headSize] holds queries, keys and
 * values side by side → [batch, seq, heads·headSize].
 * @throws {ShapeError | OptionError} when the heads do not divide the features.
 */
export function causalAttention(qkv: Tensor, options: AttentionOptions): Tensor {
  const where = 'causalAttention';
  checkKeys(where, options, { heads: 0, kvHeads: 0, ropeBase: 0 });
  const { heads, kvHeads = heads, ropeBase = ROPE_BASE } = options;
  checkInteger(`${where}: heads`, heads);
  checkInteger(`${where}: kvHeads`, kvHeads);
  checkNumber(`${where}: ropeBase`, ropeBase, 0);
  if (heads % kvHeads !== 0) throw new OptionError(`${where}: kvHeads`, `a divisor of heads (${heads})`, kvHeads);
  checkTensor(`${where}: qkv`, qkv);
  checkSameShape(`${where}: qkv`, qkv, [-1, -1, -1]);
  const [batch, seq, width] = qkv.shape as [number, number, number];
  const headSize = width / (heads + 2 * kvHeads);
  if (!Number.isInteger(headSize) || headSize < 1)
    throw new OptionError(`${where}: qkv`, `a multiple of ${heads + 2 * kvHeads} features`, width);
  if (ropeBase > 0 && headSize % 2 !== 0)
    throw new OptionError(`${where}: headSize`, 'an even number for rotary positions', headSize);

  const y = emptyAs([batch, seq, heads * headSize], qkv);
  const lse = empty([batch, heads, seq], 'float32', qkv.device);
  const [kv_heads, head_size, rotary_base] = [kvHeads, headSize, ropeBase];
  runNative(() => kernels.attention_forward({ qkv, y, lse, batch, seq, heads, kv_heads, head_size, rotary_base }));
  if (!needsGrad(qkv)) lse.dispose();

  const backward = (dy: Tensor) => {
    const dqkv = emptyLike(qkv);
    kernels.attention_backward({ dy, qkv, y, lse, dqkv, batch, seq, heads, kv_heads, head_size, rotary_base });
    lse.dispose();
    return [dqkv];
  };
  return record(y, [qkv], backward, [qkv, y]);
}
