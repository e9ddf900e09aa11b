import { kernels } from '../../lib/kernels';
import { expectClose, expectGradient, expectSameOnAnyThreadCount, onEveryIsa, randomArray } from './support';

interface Shape {
  batch: number;
  seq: number;
  heads: number;
  kvHeads: number;
  size: number;
  base: number;
}

const widthOf = ({ heads, kvHeads, size }: Shape): number => (heads + 2 * kvHeads) * size;

/** Turns the pairs of x (one head) for its position; direction -1 turns back. */
function turn(x: number[], position: number, base: number, direction: 1 | -1): number[] {
  if (base === 0) return x;
  const half = x.length / 2;
  return x.map((value, i) => {
    const angle = position * base ** (-(i % half) / half) * direction;
    return i < half
      ? value * Math.cos(angle) - x[i + half]! * Math.sin(angle)
      : value * Math.cos(angle) + x[i - half]! * Math.sin(angle);
  });
}

const dot = (a: number[], b: number[]): number => a.reduce((total, value, i) => total + value * b[i]!, 0);
const addTo = (to: Float64Array, at: number, x: number[], factor = 1): void => {
  x.forEach((value, i) => {
    to[at + i]! += factor * value;
  });
};

/** The definition in float64, one query at a time; gradients of Σ dy·y when dy is given. */
function reference(qkv: ArrayLike<number>, shape: Shape, dy?: ArrayLike<number>) {
  const { batch, seq, heads, kvHeads, size, base } = shape;
  const width = widthOf(shape);
  const scale = 1 / Math.sqrt(size);
  const y = new Float64Array(batch * seq * heads * size);
  const lse = new Float64Array(batch * heads * seq);
  const dqkv = new Float64Array(batch * seq * width);
  const part = (b: number, t: number, head: number): number[] =>
    Array.from({ length: size }, (_, i) => qkv[(b * seq + t) * width + head * size + i]!);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const kv = heads + Math.floor((h * kvHeads) / heads);
      const tokens = Array.from({ length: seq }, (_, t) => ({
        q: turn(part(b, t, h), t, base, 1),
        k: turn(part(b, t, kv), t, base, 1),
        v: part(b, t, kv + kvHeads),
      }));
      const d = tokens.map(() => ({ q: new Float64Array(size), k: new Float64Array(size) }));
      for (let t = 0; t < seq; t++) {
        const scores = tokens.slice(0, t + 1).map(({ k }) => dot(tokens[t]!.q, k) * scale);
        const top = Math.max(...scores);
        const total = scores.reduce((sum, s) => sum + Math.exp(s - top), 0);
        lse[(b * heads + h) * seq + t] = top + Math.log(total);
        const p = scores.map((s) => Math.exp(s - top) / total);
        const at = ((b * seq + t) * heads + h) * size;
        for (const [j, weight] of p.entries()) addTo(y, at, tokens[j]!.v, weight);
        if (!dy) continue;
        const dyt = Array.from({ length: size }, (_, i) => dy[at + i]!);
        const dp = p.map((_, j) => dot(dyt, tokens[j]!.v));
        const delta = dot(p, dp);
        for (const [j, weight] of p.entries()) {
          const ds = weight * (dp[j]! - delta) * scale;
          addTo(d[t]!.q, 0, tokens[j]!.k, ds);
          addTo(d[j]!.k, 0, tokens[t]!.q, ds);
          addTo(dqkv, (b * seq + j) * width + (kv + kvHeads) * size, dyt, weight);
        }
      }
      for (let t = 0; t < seq; t++) {
        addTo(dqkv, (b * seq + t) * width + h * size, turn(Array.from(d[t]!.q), t, base, -1));
        addTo(dqkv, (b * seq + t) * width + kv * size, turn(Array.from(d[t]!.k), t, base, -1));
      }
    }
  return { y, lse, dqkv };
}

function run(qkv: Float32Array, dy: Float32Array, shape: Shape) {
  const { batch, seq, heads, kvHeads: kv_heads, size: head_size, base: rotary_base } = shape;
  const sizes = { batch, seq, heads, kv_heads, head_size, rotary_base };
  const y = new Float32Array(dy.length);
  const lse = new Float32Array(shape.batch * shape.heads * shape.seq);
  const dqkv = new Float32Array(qkv.length);
  kernels.attention_forward({ ...sizes, qkv, y, lse });
  kernels.attention_backward({ ...sizes, dy, qkv, y, lse, dqkv });
  return { y, lse, dqkv };
}

const SHAPES: Shape[] = [
  { batch: 1, seq: 1, heads: 1, kvHeads: 1, size: 1, base: 0 },
  { batch: 2, seq: 5, heads: 3, kvHeads: 3, size: 6, base: 10000 },
  { batch: 1, seq: 7, heads: 4, kvHeads: 2, size: 2, base: 10000 },
  { batch: 1, seq: 63, heads: 2, kvHeads: 2, size: 7, base: 0 },
  { batch: 1, seq: 64, heads: 2, kvHeads: 2, size: 64, base: 10000 },
  { batch: 2, seq: 67, heads: 4, kvHeads: 2, size: 20, base: 10000 },
  { batch: 1, seq: 130, heads: 3, kvHeads: 1, size: 48, base: 500 },
  { batch: 1, seq: 193, heads: 1, kvHeads: 1, size: 128, base: 10000 },
];

const inputs = (shape: Shape, scale = 1): [Float32Array, Float32Array] => [
  randomArray(shape.batch * shape.seq * widthOf(shape), 1, scale),
  randomArray(shape.batch * shape.seq * shape.heads * shape.size, 2),
];

onEveryIsa(() => {
  test.each(SHAPES)('%j', (shape) => {
    const [qkv, dy] = inputs(shape, 2);
    const actual = run(qkv, dy, shape);
    const expected = reference(qkv, shape, dy);
    expectClose(actual.y, expected.y, 2e-6);
    expectClose(actual.lse, expected.lse, 2e-6);
    expectClose(actual.dqkv, expected.dqkv, 1e-5);
  });

  test('scores far apart and beyond the range of exp', () => {
    const shape = SHAPES[5]!;
    const [qkv, dy] = inputs(shape, 30);
    const { y } = run(qkv, dy, shape);
    expectClose(y, reference(qkv, shape).y, 1e-3);
  });

  test('a token changes nothing before it', () => {
    const shape = { ...SHAPES[6]!, batch: 1 };
    const [qkv, dy] = inputs(shape);
    const before = run(qkv, dy, shape).y.slice();
    const changed = 100;
    qkv.fill(3, changed * widthOf(shape));
    const after = run(qkv, dy, shape).y;
    const rows = changed * shape.heads * shape.size;
    expect(after.slice(0, rows)).toEqual(before.slice(0, rows));
    expect(after.slice(rows)).not.toEqual(before.slice(rows));
  });

  test('bit-identical on any number of threads', () => {
    const shape = SHAPES[5]!;
    const [qkv, dy] = inputs(shape);
    expectSameOnAnyThreadCount(() => {
      const { y, dqkv } = run(qkv, dy, shape);
      return [...y, ...dqkv];
    });
  });
});

test.each(SHAPES.slice(0, 3))('the reference gradient agrees with central differences, %j', (shape) => {
  const [qkv, dy] = inputs(shape);
  const at = Float64Array.from(qkv);
  const loss = (): number => reference(at, shape).y.reduce((total, value, i) => total + value * dy[i]!, 0);
  expectGradient(loss, at, reference(at, shape, dy).dqkv, 1e-7);
});
