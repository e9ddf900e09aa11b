/** Models with values everywhere, and their logits. */
import { noGrad, tensor, tidy } from '../../lib';
import { type Guidance, type TransformerConfig, TransformerLM } from '../../lib/nn';
import { TestRandom } from '../support/random';

/** No parameter is left at 0 or 1, where a mistake would not show. */
export function randomModel(config: TransformerConfig, guidance?: Guidance): TransformerLM {
  const model = new TransformerLM(config, { init: 'normal', guidance });
  const random = new TestRandom(7);
  for (const [name, parameter] of model.namedParameters()) {
    const isGain = name.includes('norm') && name.endsWith('.weight');
    parameter.data.set(random.array(parameter.size).map((value) => (isGain ? 1 + value / 2 : value * 0.4)));
  }
  return model.eval();
}

export const randomIds = (count: number, vocabSize: number): number[] => {
  const random = new TestRandom(count);
  return Array.from({ length: count }, () => random.int(0, vocabSize - 1));
};

/** Logits of ids [batch, seq]. */
export const logitsOf = (model: TransformerLM, ids: readonly number[], batch: number): ArrayLike<number> =>
  noGrad(() => tidy(() => model.forward(tensor(Int32Array.from(ids), [batch, ids.length / batch])).toArray()));
