#!/usr/bin/env bash
# Make an environment for each peer that benchmarks/goodput compares with, over this one's torch.
#
#     benchmarks/environments.sh [FOLDER]      # default: .peers
set -euo pipefail

folder="${1:-.peers}"
python="${PYTHON:-python}"
base="$("$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])')"

make() {
    local name="$1"
    shift
    "$python" -m venv "$folder/$name"
    # What is here already (torch, numpy, ...) is seen, not installed again.
    local site
    site="$("$folder/$name/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
    echo "$base" > "$site/base.pth"
    "$folder/$name/bin/python" -m pip install --quiet "$@"
}

make lightning "lightning==2.6.6" "torchdata==0.11.0"
make accelerate "accelerate==1.15.0"
make transformers "transformers==5.24.0" "accelerate==1.15.0"
