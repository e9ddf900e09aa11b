/**
 * A transformer in float64, token by token from the formulas and independent of the library: what a config and the weights
 * of a checkpoint mean. Feedforward networks are dense; a bias is added where the weights have one.
 */
import { activate, type ReferenceActivation, type Vector } from './reference';

/** The part of a config that is in no weight's shape. */
export interface ReferenceConfig {
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly norm: 'layer' | 'rms';
  readonly normEps: number;
  readonly activation: ReferenceActivation;
  /** 0: none. */
  readonly ropeBase: number;
}

export type ReferenceWeights = ReadonlyMap<string, Vector>;

const dot = (a: Vector, b: Vector): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const plus = (a: Vector, b: Vector): Vector => a.map((value, i) => value + b[i]!);

class Reference {
  constructor(
    readonly config: ReferenceConfig,
    readonly weights: ReferenceWeights,
  ) {}

  get(name: string): Vector {
    const value = this.weights.get(name);
    if (value === undefined) throw new Error(`the reference needs ${name}`);
    return value;
  }

  row(name: string, index: number, width: number): Vector {
    return this.get(name).subarray(index * width, (index + 1) * width);
  }

  linear(name: string, x: Vector): Vector {
    const rows = this.get(`${name}.weight`).length / x.length;
    const bias = this.weights.get(`${name}.bias`);
    return Float64Array.from(
      { length: rows },
      (_, i) => dot(this.row(`${name}.weight`, i, x.length), x) + (bias?.[i] ?? 0),
    );
  }

  rms(name: string, x: Vector): Vector {
    const root = Math.sqrt(dot(x, x) / x.length + this.config.normEps);
    return x.map((value, i) => (value / root) * this.get(`${name}.weight`)[i]!);
  }

  norm(name: string, x: Vector): Vector {
    if (this.config.norm === 'rms') return this.rms(name, x);
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const centered = x.map((value) => value - mean);
    const root = Math.sqrt(dot(centered, centered) / x.length + this.config.normEps);
    const bias = this.weights.get(`${name}.bias`);
    return centered.map((value, i) => (value / root) * this.get(`${name}.weight`)[i]! + (bias?.[i] ?? 0));
  }

  /** Feature j of a head turns with feature j + half. */
  rotated(x: Vector, position: number): Vector {
    const { ropeBase } = this.config;
    if (ropeBase === 0) return x;
    const half = x.length / 2;
    return x.map((value, i) => {
      const angle = position * ropeBase ** (-(i % half) / half);
      return value * Math.cos(angle) + (i < half ? -x[i + half]! : x[i - half]!) * Math.sin(angle);
    });
  }

  /** Rows of all tokens → rows of all tokens. */
  attention(name: string, rows: readonly Vector[]): Vector[] {
    const { nHeads, nKvHeads } = this.config;
    const projected = rows.map((x) => this.linear(`${name}.qkv`, x));
    const size = projected[0]!.length / (nHeads + 2 * nKvHeads);
    const head = (token: number, index: number): Vector => projected[token]!.subarray(index * size, (index + 1) * size);
    const turned = (token: number, index: number, norm: string): Vector => {
      const own = head(token, index);
      return this.rotated(this.weights.has(`${name}.${norm}.weight`) ? this.rms(`${name}.${norm}`, own) : own, token);
    };
    return rows.map((_, t) => {
      const mixed = new Float64Array(nHeads * size);
      for (let h = 0; h < nHeads; h++) {
        const kv = nHeads + Math.floor(h / (nHeads / nKvHeads));
        const q = turned(t, h, 'qnorm');
        const scores = Array.from({ length: t + 1 }, (_, s) => dot(q, turned(s, kv, 'knorm')) / Math.sqrt(size));
        const most = Math.max(...scores);
        const total = scores.reduce((sum, score) => sum + Math.exp(score - most), 0);
        scores.forEach((score, s) => {
          const part = Math.exp(score - most) / total;
          head(s, kv + nKvHeads).forEach((value, i) => {
            mixed[h * size + i]! += part * value;
          });
        });
      }
      return this.linear(`${name}.out`, mixed);
    });
  }

  logits(ids: readonly number[]): Vector[] {
    const width = this.get('norm.weight').length;
    let rows = ids.map((id, t) => {
      const token = this.row('embedding.weight', id, width);
      return this.weights.has('positions.weight') ? plus(token, this.row('positions.weight', t, width)) : token;
    });
    for (let i = 0; i < this.config.nLayers; i++) {
      const block = `blocks.${i}`;
      const attended = this.attention(
        `${block}.attention`,
        rows.map((x) => this.norm(`${block}.norm1`, x)),
      );
      rows = rows.map((x, t) => plus(x, attended[t]!));
      rows = rows.map((x) => {
        const pre = this.linear(`${block}.ffn.fc1`, this.norm(`${block}.norm2`, x));
        return plus(x, this.linear(`${block}.ffn.fc2`, activate(this.config.activation, pre, pre.length)));
      });
    }
    const head = this.weights.has('head.weight') ? 'head' : 'embedding';
    return rows.map((x) => this.linear(head, this.norm('norm', x)));
  }
}

/** Logits of every token of one text. */
export const referenceLogits = (config: ReferenceConfig, weights: ReferenceWeights, ids: readonly number[]): Vector[] =>
  new Reference(config, weights).logits(ids);

/** Mean cross-entropy of one text, in nats. */
export function referenceLoss(
  config: ReferenceConfig,
  weights: ReferenceWeights,
  ids: readonly number[],
  targets: readonly number[],
): number {
  const losses = referenceLogits(config, weights, ids).map((row, t) => {
    const most = Math.max(...row);
    return most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0)) - row[targets[t]!]!;
  });
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}
