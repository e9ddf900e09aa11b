import type { TensorData } from '../io';

/** cos and sin [seqLen, 1, headSize/2] of position · base^(−i/half), computed in float64. */
export function rotaryTable(seqLen: number, headSize: number, base: number): { cos: TensorData; sin: TensorData } {
  const half = headSize / 2;
  const table = (f: (angle: number) => number): TensorData => ({
    shape: [seqLen, 1, half],
    data: Float32Array.from({ length: seqLen * half }, (_, at) =>
      f(Math.floor(at / half) * base ** (-(at % half) / half)),
    ),
  });
  return { cos: table(Math.cos), sin: table(Math.sin) };
}
