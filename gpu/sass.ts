/** Stage c: the machine code in the addon. Kernels for compute capability 9.0 must use wgmma, and none may use local memory. */
import { nativePath } from './support/addon';
import { Script } from './support/options';
import type { SassRow } from './support/rows';
import { eachLine } from './support/tool';

type Counts = Omit<SassRow, 'kind'>;

/** Counts instructions in the lines of `cuobjdump -sass`. */
export class SassReader {
  readonly kernels: Counts[] = [];
  #architecture = '';
  #current: { -readonly [K in keyof Counts]: Counts[K] } | undefined;

  take(line: string): void {
    const architecture = /code for (sm_\w+)/.exec(line);
    if (architecture) this.#architecture = architecture[1]!;
    const kernel = /Function : (\S+)/.exec(line);
    if (kernel) {
      this.#current = { kernel: kernel[1]!, architecture: this.#architecture, wgmma: 0, mma: 0, local: 0 };
      this.kernels.push(this.#current);
    }
    if (!this.#current) return;
    if (/\bHGMMA\b/.test(line)) this.#current.wgmma++;
    if (/\bHMMA\b/.test(line)) this.#current.mma++;
    if (/\b(STL|LDL)\b/.test(line)) this.#current.local++;
  }
}

async function main(): Promise<void> {
  const script = new Script();
  const reader = new SassReader();
  const status = await eachLine(script.seconds, ['cuobjdump', '-sass', nativePath()], {}, (line) => reader.take(line));
  const { kernels } = reader;
  for (const kernel of kernels) if (kernel.wgmma > 0 || kernel.local > 0) script.emit({ kind: 'sass', ...kernel });
  const spilled = kernels.filter(({ local }) => local > 0);
  const wgmma = kernels.filter((kernel) => kernel.wgmma > 0);
  const check = (name: string, passed: boolean, detail: string) => {
    script.emit({ kind: 'check', suite: 'machine code', name, passed, detail });
    if (!passed) process.exitCode = 1;
  };
  check('cuobjdump reads the addon', status === 0 && kernels.length > 0, `${kernels.length} kernels`);
  check('no kernel uses local memory', spilled.length === 0, `${spilled.length} do`);
  check('wgmma is used', wgmma.length > 0, `by ${wgmma.length} kernels`);
}

if (require.main === module) void main();
