/**
 * The contract of the native addon, kernel by kernel: native/kernels.def says the same in C++, with the semantics, and
 * test/native/contract.test.ts holds the two together. The addon is private to the package: nothing here checks shapes.
 */

/** Names a buffer of the addon's allocator. A stale handle is recognised and refused. */
export type Handle = number;

/** What has native memory, its handle, a raw typed array (synchronous calls only), or null for an optional one left out. */
export type Operand = { readonly handle: Handle } | Handle | Float32Array | Int32Array | Uint16Array | null;

export type Operands = readonly (Handle | null)[];

/** The weights and sizes of a model, checked once. It names its weights and owns none: it goes with the garbage. */
export interface NativeModel {
  readonly isModel: never;
}

type Words<S extends string> = S extends `${infer First} ${infer Rest}`
  ? First | Words<Rest>
  : S extends ''
    ? never
    : S;

/** What one call takes, by name: operands, numbers, lists of numbers, lists of operands, bound models. */
type Call<
  One extends string,
  Numbers extends string = '',
  Lists extends string = '',
  Many extends string = '',
  Models extends string = '',
> = { readonly [Name in Words<One>]: Operand } & { readonly [Name in Words<Numbers>]: number } & {
  readonly [Name in Words<Lists>]: Int32Array;
} & {
  readonly [Name in Words<Many>]: Operands;
} & { readonly [Name in Words<Models>]: NativeModel };

type Codes<Names extends string> = { readonly [Name in Words<Names>]: number };

/** What the kernels are called with. */
export interface KernelCalls {
  linear_forward: Call<'x v u guide bias residual h pre y', 'n factor_scale guide_scale activation', 'dims'>;
  linear_backward: Call<'dy x v u guide h pre dx dv du dguide dbias', 'n factor_scale guide_scale activation', 'dims'>;
  linear_merge: Call<'v u weight', '', 'dims'>;
  ffn_forward: Call<
    'x v1 u1 guide1 bias1 v2 u2 guide2 bias2 residual h1 pre h2 y',
    'n factor_scale1 guide_scale1 factor_scale2 guide_scale2 activation',
    'dims1 dims2'
  >;
  ffn_backward: Call<
    'dy x v1 u1 guide1 v2 u2 guide2 h1 pre h2 dx dv1 du1 dguide1 dbias1 dv2 du2 dguide2 dbias2',
    'n factor_scale1 guide_scale1 factor_scale2 guide_scale2 activation',
    'dims1 dims2'
  >;
  matmul: Call<'a b c', 'batch m n k transpose_a transpose_b accumulate', 'strides'>;
  attention_forward: Call<'qkv y lse', 'batch seq heads kv_heads head_size rotary_base'>;
  attention_backward: Call<'dy qkv y lse dqkv', 'batch seq heads kv_heads head_size rotary_base'>;
  layer_norm_forward: Call<'x weight bias y mean rstd', 'n features eps'>;
  layer_norm_backward: Call<'dy x weight mean rstd dx dweight dbias', 'n features'>;
  rms_norm_forward: Call<'x weight y rstd', 'n features eps'>;
  rms_norm_backward: Call<'dy x weight rstd dx dweight', 'n features'>;
  embedding_forward: Call<'ids table y', 'n rows features'>;
  embedding_backward: Call<'dy ids dtable', 'n rows features'>;
  cross_entropy_forward: Call<'logits targets loss lse count', 'n classes ignore_index'>;
  cross_entropy_backward: Call<'dloss logits targets lse count dlogits', 'n classes ignore_index'>;
  linear_cross_entropy: Call<'x weight targets loss dx dweight', 'n features classes ignore_index'>;
  adamw_numbers: Call<'numbers', 'first lr beta1 beta2 eps weight_decay', 'steps'>;
  adamw_step: Call<'grad_scale numbers', 'first', '', 'params grads exp_avg exp_avg_sq masters'>;
  grad_norm: Call<'norm scale', 'max_norm', '', 'grads'>;
  gather_scalars: Call<'y', '', '', 'x'>;
  scale_by: Call<'x factor'>;
  unary: Call<'a y', 'op c'>;
  unary_backward: Call<'dy a y da', 'op c'>;
  binary: Call<'a b y', 'op', 'dims a_strides b_strides'>;
  add_scaled: Call<'x acc', 'scale'>;
  reduce: Call<'x y', 'op outer extent inner'>;
  argmax: Call<'x index', 'outer extent inner'>;
  softmax_forward: Call<'x y', 'n features log'>;
  softmax_backward: Call<'dy y dx', 'n features log'>;
  strided_copy: Call<'x y', 'offset', 'dims strides'>;
  strided_write: Call<'y x', 'offset', 'dims strides'>;
  strided_add: Call<'y x', 'offset', 'dims strides'>;
  fill: Call<'y', 'value'>;
  copy: Call<'x y'>;
  cast: Call<'x y'>;
  decode_step: Call<'logits', '', 'ids sequences', 'pages', 'model'>;
  decode_linear: Call<'x v v_scales u u_scales bias y', 'n activation int8_rows', 'dims'>;
  quantize: Call<'x y scales', 'rows columns'>;
  dequantize: Call<'x scales y', 'rows columns'>;
  random_uniform: Call<'y', 'seed_low seed_high offset low high'>;
  random_normal: Call<'y', 'seed_low seed_high offset mean std'>;
  svd: Call<'a u s vt', 'batch m n rank'>;
  polar: Call<'a y', 'batch m n'>;
  probe_flops: Call<'out', 'iterations pairs'>;
  probe_bandwidth: Call<'x out'>;
}

/** R is void for synchronous calls and Promise<void> for asynchronous ones. */
export type Kernels<R> = { readonly [Name in keyof KernelCalls]: (call: KernelCalls[Name]) => R };

/** The same kernels as the addon has them: values in the order of native/kernels.def. */
export type PositionalKernels<R> = { readonly [Name in keyof KernelCalls]: (...values: unknown[]) => R };

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

export interface Native {
  readonly kernels: PositionalKernels<void>;
  /** The same as jobs on a native thread, in order. Operands must be handles. */
  readonly async: PositionalKernels<Promise<void>>;
  /** The parameters of each kernel as native/kernels.def has them: 'Float x, Float y, int64_t n'. */
  readonly parameters: { readonly [Name in keyof KernelCalls]: string };
  /** The numbers of native/codes.def. */
  readonly dtypes: Codes<'float32 int32 bfloat16 int8'>;
  readonly activations: Codes<'none gelu silu relu swiglu'>;
  readonly unaryOps: Codes<'neg exp log sqrt rsqrt tanh sigmoid gelu silu relu square abs scale addScalar pow sin cos reciprocal clampMin clampMax'>;
  readonly binaryOps: Codes<'add sub mul div maximum minimum pow greater equal'>;
  readonly reductions: Codes<'sum mean max'>;
  /**
   * dtype: a number of `dtypes`. A device is its kind, 0 cpu (default) or 1 cuda, for the default one,
   * and kind + 256 · (index + 1) for any. The contents are not set.
   */
  /** The memory goes by `release`, or in a sweep after `owner` was collected. */
  allocate(length: number, dtype: number, device?: number, owner?: object): Handle;
  /** A handle that was released is left alone. */
  release(handle: Handle): void;
  /** Frees the memory whose owners were collected. `allocate` does so, too, when there are many new tensors. */
  sweep(): void;
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
  /** For tests: the count-th allocation of CPU memory from now on is refused, and all after it until the next call; 0 refuses none. Returns what was left of the count before. */
  refuseAllocation(count: number): number;
  /** What STRUCTURED_FFN_NUM_THREADS asks for, 0 without it. */
  threadsSetting(): number;
  numThreads(): number;
  /** As many as asked for, even if they must share cores. */
  setNumThreads(count: number): void;
  /** Physical cores that this process may use. */
  availableCores(): number;
  /** The same with each hyper-thread counted. */
  availableProcessors(): number;
  /** True once in a process: for the warning that fewer threads are used than asked for. */
  firstThreadWarning(): boolean;
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
