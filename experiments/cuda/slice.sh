#!/usr/bin/env bash
# Do the next slice of the queue on a GPU machine, in the root of a copy of the checkout.
#   experiments/cuda/slice.sh PACK OUT SECONDS [tsbp sweep's words, instead of cuda]
# PACK is one half made by pack.sh. The first half is unpacked, and the tests of the kernels run meanwhile; once both
# are there, the queue goes on. New records are in OUT; checkpoints stay on the machine for the next slice.
set -euo pipefail
pack=$1 out=$2 seconds=$3 words=("${@:4}")
started=$SECONDS
data=${TSBP_DATA:-/tmp/tsbp-data} records=${TSBP_QUEUE:-/tmp/tsbp-queue}
python=${PYTHON:-python3}
mkdir -p "$data" "$records" "$out"
$python -c 'import pydantic, yaml, filelock' 2> /dev/null ||
    $python -m pip install --quiet --no-index --find-links "$pack/wheels" pydantic pyyaml filelock
unpacked="$data/unpacked-$(basename "$pack")"
unpacking=()
if ! [ -f "$unpacked" ]; then
    for first in 0 10 20 30 40 50; do # grids, decoded side by side
        $python "$pack/unpack_cifar10.py" "$data" $first $((first + 9)) &
        unpacking+=($!)
    done
    if [ "${#words[@]}" -eq 0 ] && ! compgen -G "$data/unpacked-*" > /dev/null; then
        $python -m pytest -q -p no:cacheprovider -m gpu tests/gpu 2>&1 | tail -5 || true
    fi
    for one in "${unpacking[@]}"; do wait "$one"; done
    touch "$unpacked"
fi
images=$(find "$data/cifar10" -name '*.png' | wc -l)
echo "$images images, $((SECONDS - started)) s"
if [ "$images" -eq "${IMAGES:-60000}" ]; then
    cp --no-clobber results/cuda/*.json "$records" 2> /dev/null || true
    touch "$records/.started"
    code=0
    $python -m tsbp sweep "${words[@]:-cuda}" --data-root "$data" --out "$records" --checkpoint-minutes 0.5 \
        --time-budget $((seconds - SECONDS + started)) || code=$?
    find "$records" -name '*.json' -newer "$records/.started" -exec cp {} "$out" \;
    exit $code
fi
