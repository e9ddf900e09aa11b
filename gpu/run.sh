#!/bin/bash
# For a machine with a GPU and without Node or network: unpacks the archive that `npm run gpu:pack` made and runs the stages
# of gpu/README.md from it, in at most 8 minutes. Takes the options of gpu/main.ts, such as --stages=a,d.
#   OUT     folder of the results; default: gpu-results here
#   KIT     the archive; default: build-gpu/kit.tar.xz next to this folder
#   PYTHON  with PyTorch; default: python3
set -uo pipefail
SECONDS=0
WHOLE=480
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kit=${KIT:-$here/../build-gpu/kit.tar.xz}
export OUT=${OUT:-$PWD/gpu-results}
python=${PYTHON:-python3}
mkdir -p "$OUT" || exit 1
exec > >(tee -a "$OUT/log.txt") 2>&1

[ -f "$kit" ] || { echo "gpu/run.sh: there is no $kit: npm run gpu:pack makes it"; exit 1; }
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
if command -v xz > /dev/null; then
  tar -xJf "$kit" -C "$folder" || exit 1
else
  "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$kit" "$folder" || exit 1
fi
echo "gpu/run.sh: unpacked in $SECONDS s"

# PyTorch's compilers keep their results here, from one run to the next.
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/gpu-inductor} TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/gpu-triton}
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
unset STRUCTURED_FFN_BINARY
cd "$folder" || exit 1
timeout -k 5 $((WHOLE - SECONDS)) bin/node gpu/main.js --out="$OUT" --python="$python" "$@"
