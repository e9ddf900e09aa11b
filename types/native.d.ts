/**
 * The contract of the native addon, kernel by kernel: native/kernels.def says the same in C++, with the semantics, and
 * test/native/contract.test.ts holds the two together. The addon is private to the package: nothing here checks shapes.
 */

/** Names a buffer of the addon's allocator. A stale handle is recognised and refused. */
export type Handle = number;

/** A tensor's handle, a raw typed array (synchronous calls only), or null for an optional operand left out. */
export type Operand = Handle | Float32Array | Int32Array | null;

export type Operands = readonly (Handle | null)[];

/** The weights and sizes of a model, checked once. It names its weights and owns none: it goes with the garbage. */
export interface NativeModel {
  readonly isModel: never;
}

/** R is void for synchronous calls and Promise<void> below `async`. */
export interface Kernels<R> {
  linear_forward(
    x: Operand,
    v: Operand,
    u: Operand,
    guide: Operand,
    bias: Operand,
    residual: Operand,
    h: Operand,
    pre: Operand,
    y: Operand,
    n: number,
    dims: Int32Array,
    factor_scale: number,
    guide_scale: number,
    activation: number,
  ): R;
  linear_backward(
    dy: Operand,
    x: Operand,
    v: Operand,
    u: Operand,
    guide: Operand,
    h: Operand,
    pre: Operand,
    dx: Operand,
    dv: Operand,
    du: Operand,
    dguide: Operand,
    dbias: Operand,
    n: number,
    dims: Int32Array,
    factor_scale: number,
    guide_scale: number,
    activation: number,
  ): R;
  linear_merge(v: Operand, u: Operand, weight: Operand, dims: Int32Array): R;
  ffn_forward(
    x: Operand,
    v1: Operand,
    u1: Operand,
    guide1: Operand,
    bias1: Operand,
    v2: Operand,
    u2: Operand,
    guide2: Operand,
    bias2: Operand,
    residual: Operand,
    h1: Operand,
    pre: Operand,
    h2: Operand,
    y: Operand,
    n: number,
    dims1: Int32Array,
    dims2: Int32Array,
    factor_scale1: number,
    guide_scale1: number,
    factor_scale2: number,
    guide_scale2: number,
    activation: number,
  ): R;
  ffn_backward(
    dy: Operand,
    x: Operand,
    v1: Operand,
    u1: Operand,
    guide1: Operand,
    v2: Operand,
    u2: Operand,
    guide2: Operand,
    h1: Operand,
    pre: Operand,
    h2: Operand,
    dx: Operand,
    dv1: Operand,
    du1: Operand,
    dguide1: Operand,
    dbias1: Operand,
    dv2: Operand,
    du2: Operand,
    dguide2: Operand,
    dbias2: Operand,
    n: number,
    dims1: Int32Array,
    dims2: Int32Array,
    factor_scale1: number,
    guide_scale1: number,
    factor_scale2: number,
    guide_scale2: number,
    activation: number,
  ): R;
  matmul(
    a: Operand,
    b: Operand,
    c: Operand,
    batch: number,
    m: number,
    n: number,
    k: number,
    transpose_a: number,
    transpose_b: number,
    strides: Int32Array,
    accumulate: number,
  ): R;
  attention_forward(
    qkv: Operand,
    y: Operand,
    lse: Operand,
    batch: number,
    seq: number,
    heads: number,
    kv_heads: number,
    head_size: number,
    rotary_base: number,
  ): R;
  attention_backward(
    dy: Operand,
    qkv: Operand,
    y: Operand,
    lse: Operand,
    dqkv: Operand,
    batch: number,
    seq: number,
    heads: number,
    kv_heads: number,
    head_size: number,
    rotary_base: number,
  ): R;
  layer_norm_forward(
    x: Operand,
    weight: Operand,
    bias: Operand,
    y: Operand,
    mean: Operand,
    rstd: Operand,
    n: number,
    features: number,
    eps: number,
  ): R;
  layer_norm_backward(
    dy: Operand,
    x: Operand,
    weight: Operand,
    mean: Operand,
    rstd: Operand,
    dx: Operand,
    dweight: Operand,
    dbias: Operand,
    n: number,
    features: number,
  ): R;
  rms_norm_forward(x: Operand, weight: Operand, y: Operand, rstd: Operand, n: number, features: number, eps: number): R;
  rms_norm_backward(
    dy: Operand,
    x: Operand,
    weight: Operand,
    rstd: Operand,
    dx: Operand,
    dweight: Operand,
    n: number,
    features: number,
  ): R;
  embedding_forward(ids: Operand, table: Operand, y: Operand, n: number, rows: number, features: number): R;
  embedding_backward(dy: Operand, ids: Operand, dtable: Operand, n: number, rows: number, features: number): R;
  cross_entropy_forward(
    logits: Operand,
    targets: Operand,
    loss: Operand,
    lse: Operand,
    count: Operand,
    n: number,
    classes: number,
    ignore_index: number,
  ): R;
  cross_entropy_backward(
    dloss: Operand,
    logits: Operand,
    targets: Operand,
    lse: Operand,
    count: Operand,
    dlogits: Operand,
    n: number,
    classes: number,
    ignore_index: number,
  ): R;
  linear_cross_entropy(
    x: Operand,
    weight: Operand,
    targets: Operand,
    loss: Operand,
    dx: Operand,
    dweight: Operand,
    n: number,
    features: number,
    classes: number,
    ignore_index: number,
  ): R;
  adamw_numbers(
    numbers: Operand,
    steps: Int32Array,
    first: number,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weight_decay: number,
  ): R;
  adamw_step(
    params: Operands,
    grads: Operands,
    exp_avg: Operands,
    exp_avg_sq: Operands,
    masters: Operands,
    grad_scale: Operand,
    numbers: Operand,
    first: number,
  ): R;
  grad_norm(grads: Operands, norm: Operand, scale: Operand, max_norm: number): R;
  gather_scalars(x: Operands, y: Operand): R;
  scale_by(x: Operand, factor: Operand): R;
  unary(a: Operand, y: Operand, op: number, c: number): R;
  unary_backward(dy: Operand, a: Operand, y: Operand, da: Operand, op: number, c: number): R;
  binary(
    a: Operand,
    b: Operand,
    y: Operand,
    op: number,
    dims: Int32Array,
    a_strides: Int32Array,
    b_strides: Int32Array,
  ): R;
  add_scaled(x: Operand, acc: Operand, scale: number): R;
  reduce(x: Operand, y: Operand, op: number, outer: number, extent: number, inner: number): R;
  argmax(x: Operand, index: Operand, outer: number, extent: number, inner: number): R;
  softmax_forward(x: Operand, y: Operand, n: number, features: number, log: number): R;
  softmax_backward(dy: Operand, y: Operand, dx: Operand, n: number, features: number, log: number): R;
  strided_copy(x: Operand, y: Operand, offset: number, dims: Int32Array, strides: Int32Array): R;
  strided_write(y: Operand, x: Operand, offset: number, dims: Int32Array, strides: Int32Array): R;
  strided_add(y: Operand, x: Operand, offset: number, dims: Int32Array, strides: Int32Array): R;
  fill(y: Operand, value: number): R;
  copy(x: Operand, y: Operand): R;
  cast(x: Operand, y: Operand): R;
  decode_step(model: NativeModel, pages: Operands, ids: Int32Array, sequences: Int32Array, logits: Operand): R;
  decode_linear(
    x: Operand,
    v: Operand,
    v_scales: Operand,
    u: Operand,
    u_scales: Operand,
    bias: Operand,
    y: Operand,
    n: number,
    dims: Int32Array,
    activation: number,
  ): R;
  quantize(x: Operand, y: Operand, scales: Operand, rows: number, columns: number): R;
  dequantize(x: Operand, scales: Operand, y: Operand, rows: number, columns: number): R;
  random_uniform(y: Operand, seed_low: number, seed_high: number, offset: number, low: number, high: number): R;
  random_normal(y: Operand, seed_low: number, seed_high: number, offset: number, mean: number, std: number): R;
  svd(a: Operand, u: Operand, s: Operand, vt: Operand, batch: number, m: number, n: number, rank: number): R;
  polar(a: Operand, y: Operand, batch: number, m: number, n: number): R;
  probe_flops(out: Operand, iterations: number): R;
  probe_bandwidth(x: Operand, out: Operand): R;
}

export interface NativeMemoryStats {
  /** Bytes in use. */
  allocated: number;
  /** Bytes kept for reuse. */
  cached: number;
  /** Highest `allocated` since the last reset. */
  peak: number;
  /** `allocated` never exceeds it, and the system is asked for memory only while allocated + cached stay below it. */
  limit: number;
  /** Buffers handed out since the process started. */
  allocations: number;
  /** Of these, how many had to ask the system. */
  systemAllocations: number;
}

/** A recorded CUDA graph, with its memory and all tensors that it uses. */
export interface NativeRecording {
  readonly isRecording: never;
}

/** By name. */
export type NativeSettings = Record<string, string | number>;

export interface NativePlans {
  readonly product: NativeGemmPlan;
  readonly chain: NativeChainPlan;
}

export interface NativeGemmPlan {
  readonly kernel: string;
  /** Of threads. */
  readonly blocks: number;
  /** Of a block. */
  readonly steps: number;
  /** Blocks that a multiprocessor holds at once. */
  readonly resident: number;
  readonly multiprocessors: number;
}

export interface NativeChainPlan {
  readonly kernel: string;
  readonly together: number;
  readonly alone: number;
}

export interface Native extends Kernels<void> {
  /** The same kernels as jobs on a native thread, in order. Operands must be handles. */
  readonly async: Kernels<Promise<void>>;
  /**
   * dtype: 0 float32, 1 int32, 2 bfloat16, 3 int8. A device is its kind, 0 cpu (default) or 1 cuda, for the default one,
   * and kind + 256 · (index + 1) for any. The contents are not set.
   */
  allocate(length: number, dtype: number, device?: number): Handle;
  /** finalized: by the finalizer of what nobody disposed. A handle that was released is left alone. */
  release(handle: Handle, finalized?: boolean): void;
  /** An ArrayBuffer over the buffer's own memory; detach it before releasing the handle. */
  arrayBuffer(handle: Handle): ArrayBuffer;
  detach(handle: Handle, buffer: ArrayBuffer): void;
  /** Copies all elements between buffers of one size and dtype, on any devices. */
  transfer(from: Handle, to: Handle): void;
  /** Weights and `shape` in the order of native/kernels.def, for decode_step, which refuses weights released since. */
  bindModel(weights: Operands, shape: Int32Array, eps: number, rotaryBase: number): NativeModel;
  memoryStats(device?: number): NativeMemoryStats;
  resetPeakMemory(device?: number): void;
  setMemoryLimit(device: number, bytes: number): void;
  emptyCache(device?: number): void;
  numThreads(): number;
  setNumThreads(count: number): void;
  availableCores(): number;
  /** Usable instruction sets, best first, separated by commas. */
  isas(): string;
  isa(): string;
  setIsa(name: string): void;
  /** How many devices of a kind there are, usable or not. */
  deviceCount(kind: number): number;
  /** The index of a kind's default device. */
  defaultDevice(kind: number): number;
  setDefaultDevice(device: number): void;
  /** Whether a device can be used. */
  available(device: number): boolean;
  /** One sentence: what a device is, or what is missing. */
  status(device: number): string;
  /** The kernels that a device leaves to the host. */
  hostKernels(device: number): string[];
  /**
   * What the kernels of a device go by beside sizes. CUDA: tf32 (on, off; of all its devices), use_chains and use_wgmma
   * (auto, on, off), tile (auto, 64, 128), and the costs of native/cuda/gemm/costs.cuh, which are positive and finite.
   */
  settings(device: number): NativeSettings;
  /** Some of them anew, all or none. */
  setSettings(device: number, values: Partial<NativeSettings>): void;
  /**
   * How something would be computed. CUDA: product, C [m, n] = A [m, k] · Bᵀ of a dtype as in `allocate` ([m, n, k, dtype],
   * m > 16); chain, both products of LowRank in bfloat16, and the model's times of one launch and of two ([m, n, k, rank]).
   */
  plan<What extends keyof NativePlans>(device: number, what: What, sizes: readonly number[]): NativePlans[What];
  /** How often each kernel of matrix products was launched since the process started, not counting replays of recorded steps. */
  kernelLaunches(): Record<string, number>;
  /** Waits for everything launched on a device; throws what went wrong in it. */
  synchronize(device: number): void;
  /** How often the host waited for a device since the process started. */
  countedSynchronizations(): number;
  /** From here to endRecording() this thread's kernels on the device are recorded instead of run; other threads wait. */
  beginRecording(device: number): void;
  endRecording(): NativeRecording;
  /** Ends a recording of which nothing is kept. Harmless without one. */
  abandonRecording(): void;
  replay(recording: NativeRecording): void;
  releaseRecording(recording: NativeRecording): void;
  /** Floating-point operations of matrix products since the process started, attention's own not counted. */
  countedFlops(): number;
}
