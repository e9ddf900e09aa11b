/** Models of each architecture, and PyTorch's logits of an exported folder. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { TransformerConfig } from '../../lib/nn';

/** Folders in the fixtures, each with a small model and its logits. */
export const FIXTURES = join(__dirname, '..', 'fixtures', 'export');

const BASE: TransformerConfig = { vocabSize: 11, dModel: 8, nLayers: 2, nHeads: 2, seqLen: 9, dFF: 12 };

export interface HfCase {
  readonly name: string;
  readonly architecture: string;
  readonly config: TransformerConfig;
}

export const HF_CASES: readonly HfCase[] = [
  {
    name: 'starcoder2-gelu',
    architecture: 'starcoder2',
    config: { ...BASE, nKvHeads: 1, ffn: { structure: 'blockshuffle', nblocks: 2 } },
  },
  {
    name: 'starcoder2-relu',
    architecture: 'starcoder2',
    config: { ...BASE, activation: 'relu', bias: false, ropeBase: 300 },
  },
  {
    name: 'llama-bias',
    architecture: 'llama',
    config: {
      ...BASE,
      norm: 'rms',
      activation: 'swiglu',
      nHeads: 4,
      nKvHeads: 2,
      attnDim: 24,
      ffn: { structure: 'lowrank', rank: 3 },
    },
  },
  {
    name: 'llama',
    architecture: 'llama',
    config: {
      ...BASE,
      norm: 'rms',
      activation: 'swiglu',
      bias: false,
      ffn: { structure: 'blockdense', rank: 4, nblocks: 2 },
    },
  },
  {
    name: 'stablelm',
    architecture: 'stablelm',
    config: { ...BASE, activation: 'swiglu', bias: false, nKvHeads: 1, ffn: { structure: 'lowrank', rank: 5 } },
  },
];

/** STRUCTURED_FFN_PYTHON names another. */
export const PYTHON = process.env.STRUCTURED_FFN_PYTHON ?? 'python3';

/** Whether this machine's Python has torch. */
export const hasTorch = (): boolean => spawnSync(PYTHON, ['-c', 'import torch']).status === 0;

/** PyTorch's logits of the exported model in `folder`; ids [batch, seq]. */
export function torchLogits(folder: string, ids: readonly (readonly number[])[]): number[] {
  const { status, stdout, stderr } = spawnSync(PYTHON, [join(__dirname, 'hf_forward.py'), folder], {
    input: JSON.stringify(ids),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
