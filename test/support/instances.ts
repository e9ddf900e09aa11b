/** A good instance of every class that callers can have: how it is made, what its methods take, and that it still works. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {
  availableDevices,
  Generator,
  parameter,
  RecordedStep,
  Scope,
  square,
  sum,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../lib';
import { BatchLoader, TokenFile, TokenWriter } from '../../lib/data';
import { Decoder, Sampler } from '../../lib/decode';
import { FunctionalFeedForward, FunctionalLinear } from '../../lib/functional';
import {
  BlockDenseLinear,
  BlockShuffleLinear,
  CausalSelfAttention,
  Embedding,
  FeedForward,
  Guidance,
  LayerNorm,
  Linear,
  LinearLayer,
  LowRankLinear,
  Module,
  ModuleList,
  RMSNorm,
  SelfGuided,
  TransformerBlock,
  TransformerLM,
} from '../../lib/nn';
import { AdamW, GradientClip, Muon, type Optimizer, type UpdateResult } from '../../lib/optim';
import { BpeTokenizer, ByteTokenizer, byteTokenizerJson, StreamingDecoder } from '../../lib/text';
import { install, type StructuredTfjs, type TfLayers } from '../../lib/tfjs';
import { Trainer } from '../../lib/train';

export interface Recipe<T extends object = object> {
  make(): T;
  /** Fails unless the instance still does what it is for. */
  use(instance: T): unknown;
  /** Good arguments of the methods that take some, made anew for each call. */
  readonly args?: Readonly<Record<string, (instance: T) => readonly unknown[]>>;
  /** Methods that only the library calls, with what it has checked. */
  readonly internal?: readonly string[];
  /** Frees what `dispose` of the instance does not. */
  after?(instance: T): void;
}

const recipe = <T extends object>(of: Recipe<T>): Recipe => of as unknown as Recipe;

tf.enableProdMode();

const folder = mkdtempSync(join(tmpdir(), 'structured-ffn-'));
afterAll(() => rmSync(folder, { recursive: true }));
const tokens = join(folder, 'tokens.bin');
writeFileSync(tokens, new Uint8Array(Uint16Array.from({ length: 40 }, (_, i) => i % 7).buffer));
let files = 0;

const CONFIG = { vocabSize: 7, dModel: 4, nLayers: 1, nHeads: 2, seqLen: 8, dFF: 8 } as const;
const FEATURES = { inFeatures: 4, outFeatures: 4 } as const;
const ids = (): Tensor => tensor(Int32Array.of(1, 2, 3), [1, 3]);
const rows = (): Tensor => tensor([[1, 2, 3, 4]]);

function check(holds: boolean): void {
  if (!holds) throw new Error('it no longer works');
}
const finite = (values: ArrayLike<number>): void => {
  check(values.length > 0 && Array.from(values).every(Number.isFinite));
};

const MODULE_ARGS = {
  loadStateDict: (module: Module) => [module.stateDict(), { strict: true }],
  train: () => [true],
  to: () => ['cpu', 'float32'],
  addParameter: () => ['other', zeros([1])],
  removeParameter: () => ['other'],
  addModule: () => ['part', new LayerNorm(4)],
};

const ofModule = <T extends Module>(
  make: () => T,
  run: (module: T) => Tensor,
  args: Recipe<T>['args'] = { forward: () => [rows(), {}] },
): Recipe =>
  recipe<T>({
    make,
    use: (module) => tidy(() => finite(run(module).toArray())),
    args: { ...MODULE_ARGS, ...args },
    // For subclasses: its argument is the name of a method.
    internal: ['checkAlive'],
  });

const ofLayer = (make: () => LinearLayer): Recipe =>
  ofModule(make, (layer) => layer.forward(rows()), {
    forward: () => [rows(), { activation: 'gelu', residual: null }],
  });

const sizes = { ...FEATURES, rank: 2 };
const transformer = (): TransformerLM => new TransformerLM(CONFIG);

interface Trained {
  readonly p: Tensor;
}
const trained = new WeakMap<object, Trained>();

const ofOptimizer = (make: (parameters: readonly Tensor[]) => Optimizer): Recipe =>
  recipe<Optimizer>({
    make() {
      const p = parameter(tensor([[1, 2]]));
      const optimizer = make([p]);
      trained.set(optimizer, { p });
      return optimizer;
    },
    use(optimizer) {
      const { p } = trained.get(optimizer)!;
      p.grad = tensor([[3, 4]]);
      check(optimizer.step({ lr: 0.1 }).gradNorm === 5);
      finite(p.data);
    },
    args: {
      step: (optimizer) => [{ lr: 0.1, maxGradNorm: 1, clip: new GradientClip().measure([trained.get(optimizer)!.p]) }],
      prepareStep: (optimizer) => [{ lr: 0.1, clip: new GradientClip().measure([trained.get(optimizer)!.p]) }],
      applyStep: () => [{ maxGradNorm: 1 }],
      remove: () => [[tensor([1])]],
      loadStateDict: (optimizer) => [{ ...optimizer.stateDict() }],
    },
  });

let decoder: Decoder | undefined;
/** Of the sequences. */
const shared = (): Decoder => {
  decoder ??= new Decoder(transformer());
  return decoder;
};
const decode = (of: Decoder, sequence: ReturnType<Decoder['sequence']>) =>
  of.step([{ sequence, ids: [1] }]).then(([logits]) => finite(logits!));

const floats = (size: number): Float32Array => new Float32Array(size).fill(0.5);
const linearInputs = () => ({ x: floats(4), v: floats(8), u: floats(8), bias: floats(4) });
const feedForwardInputs = () => ({
  x: floats(4),
  fc1: { v: null, u: floats(16), bias: floats(4) },
  fc2: { v: null, u: floats(16), bias: floats(4) },
});

class Pair extends Module {
  readonly first = this.addModule('first', new LayerNorm(4));
}

/** By the names of the exported classes. */
export const RECIPES: Readonly<Record<string, Recipe>> = {
  Tensor: recipe<Tensor>({
    make: () => tensor([1, 2]),
    use: (x) => {
      finite(x.toArray());
      check(x.rank === 1 && x.size === 2);
      x.requiresGrad = true;
      tidy(() => sum(square(x)).backward());
    },
    args: {
      view: () => [[2, 1]],
      to: () => ['cpu'],
      as: () => ['float32'],
      copyFrom: () => [tensor([3, 4])],
      adopt: () => [tensor([3, 4])],
      backward: () => [tensor([1, 1]), { releaseGraph: true }],
    },
  }),
  Generator: recipe<Generator>({
    make: () => new Generator(3),
    use: (generator) => check(generator.next() < 1),
    args: {
      uniform: () => [[2], 0, 1],
      normal: () => [[2], 0, 1],
      nextInt: () => [5],
    },
  }),
  Scope: recipe<Scope>({
    make: () => new Scope(),
    use: (scope) => scope[Symbol.dispose](),
    args: { keep: () => [tensor([1])], track: () => [tensor([1])], forget: () => [tensor([1])] },
  }),
  BatchLoader: recipe<BatchLoader>({
    make: () => new BatchLoader(new TokenFile(tokens), { batchSize: 2, seqLen: 4, vocabSize: 7 }),
    use: (loader) => check(loader.next().inputs.length === 8),
    args: { restore: (loader) => [loader.state()] },
  }),
  TokenFile: recipe<TokenFile>({
    make: () => new TokenFile(tokens),
    use: (file) => check([...file.read(1, 3)].join() === '1,2,3'),
    args: { read: () => [1, 2], checksum: () => [1 << 20], pieces: () => [8] },
    after: (file) => file.close(),
  }),
  TokenWriter: recipe<TokenWriter>({
    make: () => new TokenWriter(join(folder, `written-${files++}.bin`), 'uint16'),
    use(writer) {
      writer.write([1, 2]);
      check(writer.length >= 2);
    },
    args: { write: () => [[1, 2]] },
    after: (writer) => writer.abort(),
  }),
  Decoder: recipe<Decoder>({
    make: () => new Decoder(transformer()),
    use: (of) => {
      using sequence = of.sequence();
      return decode(of, sequence);
    },
    args: {
      step: (of) => [[{ sequence: of.sequence(), ids: [1, 2], logits: 1 }]],
      prefill: (of) => [of.sequence(), [1, 2], () => undefined],
    },
  }),
  DecodeSequence: recipe<ReturnType<Decoder['sequence']>>({
    make: () => shared().sequence(),
    use: (sequence) => {
      sequence.rewind(0);
      return decode(shared(), sequence);
    },
    args: { reserve: () => [1], advance: () => [0], rewind: () => [0] },
  }),
  Sampler: recipe<Sampler>({
    make: () => new Sampler({ repetitionPenalty: 2 }),
    use: (sampler) => check(sampler.next(Float32Array.of(1, 2, 3)) < 3),
    args: { see: () => [[1]], next: () => [Float32Array.of(1, 2)] },
  }),
  FunctionalLinear: recipe<FunctionalLinear>({
    make: () => new FunctionalLinear({ structure: 'lowrank', ...FEATURES, rank: 2 }),
    use: (layer) => finite(layer.forward(linearInputs()).y),
    args: {
      forward: () => [linearInputs(), { training: true, out: {} }],
      forwardAsync: () => [linearInputs(), { training: true, out: {} }],
      backward: () => [
        { ...linearInputs(), dy: floats(4), saved: {} },
        { needs: ['dx'], out: {} },
      ],
      backwardAsync: () => [
        { ...linearInputs(), dy: floats(4), saved: {} },
        { needs: ['dx'], out: {} },
      ],
      merge: () => [{ v: floats(8), u: floats(8) }, floats(16)],
    },
  }),
  FunctionalFeedForward: recipe<FunctionalFeedForward>({
    make: () =>
      new FunctionalFeedForward({
        fc1: { structure: 'dense', ...FEATURES },
        fc2: { structure: 'dense', ...FEATURES },
        activation: 'gelu',
      }),
    use: (network) => finite(network.forward(feedForwardInputs()).y),
    args: {
      forward: () => [feedForwardInputs(), { training: true, out: {} }],
      forwardAsync: () => [feedForwardInputs(), { training: true, out: {} }],
      backward: () => [
        { ...feedForwardInputs(), dy: floats(4), saved: { pre: floats(4) } },
        { needs: ['dx'], out: {} },
      ],
      backwardAsync: () => [
        { ...feedForwardInputs(), dy: floats(4), saved: { pre: floats(4) } },
        { needs: ['dx'], out: {} },
      ],
    },
  }),
  Module: ofModule(
    () => new Pair(),
    (module) => module.first.forward(rows()),
  ),
  ModuleList: ofModule(
    () => new ModuleList([new LayerNorm(4)]),
    ({ items }) => items[0]!.forward(rows()),
  ),
  LinearLayer: ofLayer(() => new LinearLayer('btt', { ...FEATURES, rank: 1, nblocks: [2, 2] })),
  Linear: ofLayer(() => new Linear(FEATURES)),
  LowRankLinear: ofLayer(() => new LowRankLinear(sizes)),
  BlockDenseLinear: ofLayer(() => new BlockDenseLinear({ ...sizes, nblocks: 2 })),
  BlockShuffleLinear: ofLayer(() => new BlockShuffleLinear({ ...FEATURES, nblocks: 2 })),
  SelfGuided: ofModule(
    () => new SelfGuided(new LowRankLinear(sizes), new Guidance({ steps: 3 })),
    (layer) => layer.forward(rows()),
  ),
  CausalSelfAttention: ofModule(
    () => new CausalSelfAttention({ dModel: 4, nHeads: 2 }),
    (attention) => attention.forward(zeros([1, 2, 4])),
    { forward: () => [zeros([1, 2, 4]), { residual: zeros([1, 2, 4]) }], flopsPerToken: () => [3] },
  ),
  Embedding: ofModule(
    () => new Embedding(7, 4),
    (table) => table.forward(ids()),
    { forward: () => [ids()] },
  ),
  FeedForward: ofModule(
    () => new FeedForward({ dModel: 4, dFF: 8, structure: 'dense' }),
    (network) => network.forward(rows()),
    { forward: () => [rows(), { residual: rows() }] },
  ),
  LayerNorm: ofModule(
    () => new LayerNorm(4),
    (norm) => norm.forward(rows()),
  ),
  RMSNorm: ofModule(
    () => new RMSNorm(4),
    (norm) => norm.forward(rows()),
  ),
  TransformerBlock: ofModule(
    () => new TransformerBlock(CONFIG, { structure: 'dense' }),
    (block) => block.forward(zeros([1, 2, 4])),
    { forward: () => [zeros([1, 2, 4])] },
  ),
  TransformerLM: ofModule(transformer, (model) => model.forward(ids()), {
    forward: () => [ids()],
    hidden: () => [ids()],
    loss: () => [ids(), ids(), { ignoreIndex: -1 }],
    flopsPerToken: () => [4],
  }),
  Guidance: recipe<Guidance>({
    make: () => new Guidance({ steps: 3 }),
    use: (guidance) => finite([guidance.scales(true).guideScale]),
    args: { scales: () => [true], restore: (guidance) => [guidance.state()] },
  }),
  AdamW: ofOptimizer((parameters) => new AdamW(parameters)),
  Muon: ofOptimizer((parameters) => new Muon(parameters)),
  GradientClip: recipe<GradientClip>({
    make: () => new GradientClip().measure([]),
    use(clip) {
      const p = parameter(tensor([1]));
      p.grad = tensor([2]);
      check(clip.measure([p]).result.gradNorm === 2);
    },
    args: {
      measure: () => [[parameter(tensor([1]))], 1],
      launch: () => [[parameter(tensor([1]))], 1],
      apply: () => [[parameter(tensor([1]))]],
      whenKnown: () => [() => undefined],
    },
  }),
  BpeTokenizer: recipe<BpeTokenizer>({
    make: () => new BpeTokenizer('bytes', byteTokenizerJson()),
    use: (tokenizer) => check(tokenizer.decode(tokenizer.encode('aé')) === 'aé'),
    args: { encode: () => ['a'], decode: () => [[1]] },
  }),
  ByteTokenizer: recipe<ByteTokenizer>({
    make: () => new ByteTokenizer(),
    use: (tokenizer) => check(tokenizer.decode(tokenizer.encode('aé')) === 'aé'),
    args: { encode: () => ['a'], decode: () => [[1]] },
  }),
  StreamingDecoder: recipe<StreamingDecoder>({
    make: () => new StreamingDecoder(new ByteTokenizer()),
    use: (stream) => {
      stream.end();
      check(stream.push(97) === 'a');
    },
    args: { push: () => [97] },
  }),
  Trainer: recipe<Trainer>({
    make: () =>
      new Trainer({
        model: CONFIG,
        data: { train: tokens, validation: tokens, dtype: 'uint16' },
        steps: 10_000,
        batchSize: 1,
        learningRate: 1e-3,
      }),
    use: (trainer) => trainer.takeStep().then(({ loss }) => finite([loss])),
    args: {
      steps: () => [{ signal: new AbortController().signal }],
      evaluate: () => [{ maxRows: 1 }],
      save: () => [join(folder, 'checkpoint')],
    },
  }),
};

const sffn = install(tf);

/** Of classes that only a function of the library makes. */
export const MADE: Readonly<Record<string, Recipe>> = {
  'what install returns': recipe<StructuredTfjs>({
    make: () => sffn,
    use: (of) => finite(of.dense(tf.ones([1, 4]), tf.ones([2, 4])).dataSync()),
    args: {
      dense: () => [tf.ones([1, 4]), tf.ones([2, 4]), tf.ones([2]), { activation: 'gelu', guide: null }],
      structuredLinear: () => ['dense', tf.ones([1, 4]), { u: tf.ones([2, 4]), bias: null }, { activation: 'none' }],
      lowRankLinear: () => [tf.ones([1, 4]), tf.ones([2, 4]), tf.ones([4, 2]), null, { innerActivation: 'gelu' }],
      structuredFFN: () => [tf.ones([1, 4]), { u: tf.ones([4, 4]) }, { u: tf.ones([4, 4]) }, { activation: 'gelu' }],
      guide: () => [tf.sequential(), { steps: 3 }],
      releaseGuides: () => [tf.sequential()],
      structureModel: () => [tf.sequential(), { structure: 'lowrank', ratio: 0.5, layers: ['a'], guides: 'merged' }],
      mergeModel: () => [tf.sequential()],
      structureGraph: () => [sffn.fileIO(folder), { structure: 'lowrank', ratio: 0.5, nodes: ['a'] }],
      fileIO: () => [folder],
    },
    internal: ['run'],
  }),
  'its layers': recipe<TfLayers>({
    make: () => sffn.layers,
    use: (layers) => check(layers.fusedDense({ units: 3 }).name !== ''),
    args: {
      fusedDense: () => [{ units: 3, activation: 'gelu' }],
      lowRankDense: () => [{ units: 3, rank: 2 }],
      blockDense: () => [{ units: 4, rank: 2, nblocks: 2 }],
      blockShuffleDense: () => [{ units: 4, nblocks: 2 }],
      linear: () => ['lowrank', { units: 3, rank: 2 }],
      structuredFeedForward: () => [{ structure: 'dense', hidden: 4, units: 4 }],
      selfGuided: () => [{ layer: sffn.layers.lowRankDense({ units: 3, rank: 2 }) }],
    },
  }),
  'the result of a step': recipe<UpdateResult>({
    make: () => new GradientClip().measure([]).result,
    use: (result) => check(result.gradNorm === 0),
    args: { readWith: () => [[tensor([1])]] },
  }),
};

/** Those that need what not every machine has. */
export const DEVICE_RECIPES: Readonly<Record<string, Recipe | null>> = {
  RecordedStep: availableDevices().includes('cuda')
    ? recipe<RecordedStep>({
        make: () => new RecordedStep(() => [zeros([1], { device: 'cuda' })]),
        use: (step) => check(step.run().length === 1),
      })
    : null,
};
