/** The same transformer in PyTorch, with the same weights. */
import { LEARNING_RATE, type OurModel } from '../harness/our_model';
import type { Precision } from '../harness/side';
import type { Pytorch } from './pytorch';
import type { PytorchContender, TensorFile } from './pytorch_process';

/** @param ours in float32, before its first step. */
export function createPytorchModels(
  pytorch: Pytorch,
  ours: OurModel,
  precisions: readonly Precision[],
): Promise<PytorchContender[]> {
  return pytorch.contenders('model', ours.variant, precisions, (write) => {
    const parameters: Record<string, TensorFile> = {};
    for (const [name, { data, shape }] of ours.model.namedParameters()) parameters[name] = write(data, shape);
    const { nLayers, nHeads } = ours.size;
    const ids = write(ours.ids.data, ours.ids.shape);
    const targets = write(ours.targets.data, ours.targets.shape);
    return { nLayers, nHeads, lr: LEARNING_RATE, ids, targets, parameters };
  });
}
