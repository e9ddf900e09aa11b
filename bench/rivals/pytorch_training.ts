/** The same transformer in PyTorch, with the same weights. */
import { LEARNING_RATE, type OurModel } from '../harness/our_model';
import type { Pytorch } from './pytorch';
import type { PytorchContender, TensorFile } from './pytorch_process';

export function createPytorchModel({ process }: Pytorch, ours: OurModel): Promise<PytorchContender> {
  const files: TensorFile[] = [];
  const write = (data: Float32Array | Int32Array, shape: readonly number[]) => {
    const file = process.write(data, shape);
    files.push(file);
    return file;
  };
  const parameters: Record<string, TensorFile> = {};
  for (const [name, { data, shape }] of ours.model.namedParameters()) parameters[name] = write(data, shape);
  const { nLayers, nHeads } = ours.size;
  const ids = write(ours.ids.data, ours.ids.shape);
  const targets = write(ours.targets.data, ours.targets.shape);
  const spec = { nLayers, nHeads, lr: LEARNING_RATE, ids, targets, parameters };
  return process.create('model', ours.variant, spec, files);
}
