// For binding.gyp: prints the path of nvcc, or the folder of its libraries. nvcc may be a wrapper or a link, so it is
// asked.
const { spawnSync } = require('node:child_process');
const { join, resolve } = require('node:path');

const nvcc = process.env.NVCC ?? 'nvcc';
const dryRun = spawnSync(nvcc, ['--dryrun', '-c', 'none.cu'], { encoding: 'utf8' });
const top = /^#\$ TOP=(.*)$/m.exec(dryRun.stderr ?? '')?.[1];
if (top === undefined) {
  console.error(`STRUCTURED_FFN_CUDA=ON needs nvcc, and '${nvcc}' does not run: put it on the PATH or set NVCC`);
  process.exit(1);
}
process.stdout.write(process.argv[2] === 'nvcc' ? nvcc : join(resolve(top.trim()), 'lib64'));
