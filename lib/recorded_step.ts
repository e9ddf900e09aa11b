/** Work on a CUDA device that is recorded as a CUDA graph and replayed: hundreds of launches for the price of one. */
import type { NativeRecording } from '../types/native';
import { checkDevice, type Device, deviceCode } from './device';
import { checkFunction, DisposedError, OptionError, RecordingError, runNative } from './errors';
import { native } from './native';
import { keep, tidy } from './scope';
import { isTensor, type Tensor } from './tensor';

let recording = false;

/** For work that is new in each step, but would be the same in each replay. @throws {RecordingError} */
export function refuseWhileRecording(why: string): void {
  if (recording) throw new RecordingError(`while a CUDA graph is recorded, ${why}`);
}

/**
 * A body that launches the same kernels on the same shapes each time. The first run() calls it, which loads its
 * kernels. The second run() records it. From then on the recorded kernels are replayed, and none of its JavaScript runs
 * again. So its inputs are tensors that exist before; write to them with `copyFrom` before each run. The body must not
 * read values, copy from the host or draw random numbers: RecordingError says which of these it did. The step keeps
 * alive the tensors that the recorded kernels use. If one is moved or replaced, the step does not follow.
 */
export class RecordedStep implements Disposable {
  readonly #body: () => readonly Tensor[];
  readonly #device: Device;
  #ran = false;
  #graph: NativeRecording | null = null;
  #results: readonly Tensor[] = [];
  #disposed = false;

  /**
   * @param body its result is kept; other tensors that it makes are disposed.
   * @param device the CUDA device that it computes on. @throws {DeviceError} @throws {OptionError}
   */
  constructor(body: () => readonly Tensor[], device: Device = 'cuda') {
    checkFunction('RecordedStep: body', body);
    checkDevice('RecordedStep', device);
    if (device === 'cpu')
      throw new OptionError('RecordedStep: device', "a CUDA device (only 'cuda' has CUDA graphs)", device);
    this.#body = body;
    this.#device = device;
  }

  /** Whether run() replays. */
  get recorded(): boolean {
    return this.#graph !== null;
  }

  /**
   * One run of the body. The results belong to the step: the next run overwrites them.
   * @throws {RecordingError} when the body cannot be recorded; then nothing of the recording is kept.
   */
  run(): readonly Tensor[] {
    if (this.#disposed) throw new DisposedError('RecordedStep', 'it was disposed');
    if (this.#ran && this.#graph === null) this.#record();
    const graph = this.#graph;
    if (graph !== null) runNative(() => native.replay(graph));
    else this.#keepResults(tidy(this.#body));
    this.#ran = true;
    return this.#results;
  }

  #record(): void {
    refuseWhileRecording('no other one can be');
    runNative(() => native.beginRecording(deviceCode(this.#device)));
    recording = true;
    try {
      const results = tidy(this.#body);
      this.#graph = runNative(() => native.endRecording());
      this.#keepResults(results);
    } finally {
      recording = false;
      native.abandonRecording();
    }
  }

  #keepResults(results: readonly Tensor[]): void {
    checkResults(results);
    for (const old of this.#results) old.dispose();
    this.#results = results.map(keep);
  }

  /** Frees the graph, its memory and the results. */
  dispose(): void {
    this.#disposed = true;
    this.#keepResults([]);
    if (this.#graph !== null) native.releaseRecording(this.#graph);
    this.#graph = null;
  }

  /** The same, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws {OptionError} */
function checkResults(results: unknown): void {
  if (!Array.isArray(results) || !Array.from(results).every(isTensor))
    throw new OptionError('RecordedStep: body', 'a function that returns an array of tensors', results);
}
