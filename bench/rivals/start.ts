/** Starts the rivals that this machine has, and says which are missing. */
import { LlamaCpp } from './llama_cpp';
import { Onnxruntime } from './onnxruntime';
import { Pytorch } from './pytorch';
import { type Rival, RivalMissing } from './rival';
import { TfjsRival } from './tfjs';

export const RIVAL_NAMES = [
  'pytorch',
  'pytorch-compiled',
  'onnxruntime',
  'tfjs-wasm',
  'tfjs-cpu',
  'llama.cpp',
] as const;
export type RivalName = (typeof RIVAL_NAMES)[number];

/** To compile takes seconds for each problem, and minutes for a model: only if it is asked for. */
export const USUAL_RIVALS: readonly RivalName[] = RIVAL_NAMES.filter((name) => name !== 'pytorch-compiled');

function start(name: RivalName, python: string | undefined): Promise<Rival> {
  if (name === 'onnxruntime') return Onnxruntime.start();
  if (name === 'llama.cpp') return LlamaCpp.start();
  if (name === 'tfjs-wasm') return TfjsRival.start('wasm');
  if (name === 'tfjs-cpu') return TfjsRival.start('cpu');
  if (python === undefined)
    throw new RivalMissing('give a Python that has torch: --python FILE, or STRUCTURED_FFN_PYTHON');
  return Pytorch.start(python, name === 'pytorch-compiled');
}

export async function startRivals(
  names: readonly RivalName[],
  python: string | undefined,
  log: (line: string) => void,
): Promise<Rival[]> {
  const rivals: Rival[] = [];
  for (const name of names) {
    try {
      rivals.push(await start(name, python));
    } catch (error) {
      if (!(error instanceof RivalMissing)) throw error;
      log(`without ${name}: ${error.message}`);
    }
  }
  return rivals;
}
