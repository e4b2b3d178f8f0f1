#!/usr/bin/env bash
# Pack one half of what a bare GPU machine needs beside the checkout: images and wheels, at most 64 MiB.
#   experiments/cuda/pack.sh 1 DATA [PYTHON_VERSION]
# DATA holds cifar10-lossless/ and unpack_cifar10.py. The images are WebP grids with labels.npz and the script that unpacks them into class folders with a NOTE.txt.
set -euo pipefail
part=$1 data=$2 python=${3:-3.12}
cd "$(dirname "$0")/../.."
target=.gpu/$part
rm -rf "$target" && mkdir -p "$target/cifar10-lossless" "$target/wheels"
grids=("$data"/cifar10-lossless/train-*.webp "$data"/cifar10-lossless/test-*.webp)
half=$((${#grids[@]} / 2))
cp "${grids[@]:$(((part - 1) * half)):half}" "$data/cifar10-lossless/labels.npz" "$target/cifar10-lossless"
cp "$data/unpack_cifar10.py" "$target"
.venv/bin/python -m pip download --quiet --only-binary=:all: --python-version "$python" --dest "$target/wheels" \
    --no-deps $(grep -E '^(pydantic|pydantic-core|annotated-types|typing-inspection|pyyaml|filelock)==' requirements.txt | cut -d' ' -f1)
du -sh "$target"
