/** A model in bfloat16 has the loss and the gradients of the one in float32, but for the rounding, and without a bias. */
import { tensor } from '../../lib';
import { STRUCTURE_NAMES, TransformerLM } from '../../lib/nn';
import { Generator } from '../../lib/random';

test.each(STRUCTURE_NAMES)('%s', (structure) => {
  const ffn = structure === 'dense' ? { structure } : { structure, ratio: 0.5 };
  const config = { vocabSize: 64, dModel: 64, nLayers: 3, nHeads: 4, seqLen: 32, ffn };
  const models = ['float32', 'bfloat16'].map((dtype) =>
    new TransformerLM(config, { generator: new Generator(3) }).to('cpu', dtype as 'float32' | 'bfloat16'),
  );
  const generator = new Generator(4);
  const ids = Int32Array.from({ length: 8 * 32 + 1 }, () => generator.nextInt(64));
  const [inputs, targets] = [ids.slice(0, -1), ids.slice(1)].map((part) => tensor(part, [8, 32])) as [never, never];
  const [exact, rounded] = models.map((model) => {
    const loss = model.loss(inputs, targets);
    loss.backward(null, { releaseGraph: true });
    return { loss: loss.item(), parameters: model.namedParameters() };
  }) as unknown as [Outcome, Outcome];
  expect(Math.abs(rounded.loss - exact.loss)).toBeLessThan(2e-3);
  for (const [name, parameter] of exact.parameters) {
    const [a, b] = [parameter, rounded.parameters.get(name)!].map((p) => p.grad!.toArray()) as [
      Float32Array,
      Float32Array,
    ];
    const norm = (values: Float32Array) => Math.hypot(...values);
    const difference = norm(a.map((value, i) => value - b[i]!)) / norm(a);
    expect([name, difference < 0.02]).toEqual([name, true]);
    // Half of the rounding errors go up: the length hardly changes.
    expect([name, Math.abs(norm(b) / norm(a) - 1) < 0.01]).toEqual([name, true]);
  }
  for (const model of models) model.dispose();
});

interface Outcome {
  readonly loss: number;
  readonly parameters: ReadonlyMap<string, ReturnType<typeof tensor>>;
}
