/** The matrices of a decoding step alone, and plain reads of as many bytes: the part of a step that memory explains. */
import type { WeightDType } from '../../lib/decode';
import { DecoderModel } from '../../lib/decode/model';
import { getNumThreads } from '../../lib/device';
import { kernels } from '../../lib/kernels';
import { native } from '../../lib/native';
import type { TransformerLM } from '../../lib/nn';
import { Storage } from '../../lib/storage';
import type { Handle } from '../../types/native';
import type { Contender } from './contender';
import { timeCalls } from './sampling';
import { OURS, sideOf } from './side';

/** Where decode_step finds the linear layers among its weights and sizes; the order is that of native/kernels.def. */
const SHARED = 7;
const OF_LAYER = 26;
const HEAD = 4;
const LINEAR = [2, 7, 14, 19] as const;
const SHAPE = 10;
const DIMS = 7;

interface Matrix {
  readonly views: readonly (Handle | null)[];
  readonly dims: Int32Array;
}

/** Every linear layer of a step on one token, by its factors, one call each: no norms, no attention. */
export class DecodeMatrices implements Contender {
  readonly side: string;
  readonly #model: DecoderModel;
  readonly #matrices: readonly Matrix[];
  readonly #x: Storage;
  readonly #y: Storage;

  constructor(
    readonly variant: string,
    readonly of: TransformerLM,
    dtype: WeightDType,
  ) {
    this.side = sideOf({ device: 'cpu', dtype });
    this.#model = new DecoderModel(of, dtype);
    const { weights, shape } = this.#model.operands(() => 'factored');
    const { vocabSize, dModel, nLayers } = of.config;
    const layers = Array.from({ length: nLayers }, (_, layer) =>
      LINEAR.map((offset, place): Matrix => {
        const [at, sizes] = [SHARED + layer * OF_LAYER + offset, SHAPE + (layer * LINEAR.length + place) * DIMS];
        return { views: weights.slice(at, at + 5), dims: shape.slice(sizes, sizes + DIMS) };
      }),
    );
    const [matrix = null, scales = null] = weights.slice(HEAD);
    const head = {
      views: [null, null, matrix, scales, null],
      dims: Int32Array.of(1, dModel, dModel, 1, vocabSize, dModel, 0),
    };
    this.#matrices = [...layers.flat(), head];
    const widest = Math.max(...this.#matrices.flatMap(({ dims: [K = 1, , p = 1, L = 1, s = 1] }) => [K * p, L * s]));
    this.#x = new Storage(widest, 'float32');
    this.#y = new Storage(widest, 'float32');
    kernels.fill({ y: this.#x, value: 0.5 });
  }

  get bytes(): number {
    return this.#model.bytes;
  }

  async outputs(): Promise<readonly Float32Array[]> {
    this.#run();
    return [this.#y.toArray()];
  }

  sample(milliseconds: number): Promise<readonly number[]> {
    return timeCalls(() => this.#run(), milliseconds);
  }

  async close(): Promise<void> {
    this.#model.dispose();
    this.#x.dispose();
    this.#y.dispose();
  }

  #run(): void {
    for (const { views, dims } of this.#matrices) {
      const [v = null, vScales = null, u = null, uScales = null, bias = null] = views;
      if (u === null) throw new Error('decode: a layer without weights');
      kernels.decode_linear({
        x: this.#x,
        v,
        v_scales: vScales,
        u,
        u_scales: uScales,
        bias,
        y: this.#y,
        n: 1,
        dims,
        activation: native.activations.none,
        int8_rows: 0,
      });
    }
  }
}

/** Reads an array of some size once, by all threads. */
export class MemoryRead implements Contender {
  readonly side = OURS;
  readonly variant = 'memory';
  readonly #buffer: Storage;
  readonly #out = new Storage(4 * getNumThreads(), 'float32');

  constructor(readonly bytes: number) {
    this.#buffer = new Storage(Math.ceil(bytes / 4), 'float32');
    kernels.fill({ y: this.#buffer, value: 1 });
  }

  async outputs(): Promise<readonly Float32Array[]> {
    kernels.probe_bandwidth({ x: this.#buffer, out: this.#out });
    return [this.#out.toArray()];
  }

  sample(milliseconds: number): Promise<readonly number[]> {
    return timeCalls(() => kernels.probe_bandwidth({ x: this.#buffer, out: this.#out }), milliseconds);
  }

  async close(): Promise<void> {
    this.#buffer.dispose();
    this.#out.dispose();
  }
}
