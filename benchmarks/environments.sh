#!/usr/bin/env bash
# Make an environment for each peer that benchmarks/goodput and benchmarks/overhead compare with,
# over this one's torch.
#
#     benchmarks/environments.sh [FOLDER [NAME...]]      # default: .peers, all of them
#
# Left out: mosaicml composer 0.32.1, as it asks for torch<2.7.1 and numpy<2.3.
set -euo pipefail

folder="${1:-.peers}"
wanted=" ${*:2} "
python="${PYTHON:-python}"
base="$("$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])')"
pinned="$(mktemp)"
trap 'rm -f "$pinned"' EXIT
"$python" -m pip freeze | grep -E '^(torch|torchvision|numpy)==' > "$pinned" # the same for all

make() {
    local name="$1"
    shift
    [[ "$wanted" == "  " || "$wanted" == *" $name "* ]] || return 0
    "$python" -m venv "$folder/$name"
    # What is here already (torch, numpy, ...) is seen, not installed again.
    local site
    site="$("$folder/$name/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
    echo "$base" > "$site/base.pth"
    "$folder/$name/bin/python" -m pip install --quiet --constraint "$pinned" "$@"
}

make lightning "lightning==2.6.6" "torchdata==0.11.0"
make accelerate "accelerate==1.15.0"
make transformers "transformers==5.24.0" "accelerate==1.15.0"
make ignite "pytorch-ignite==0.5.5"
make mmengine "mmengine==0.10.7"
make skorch "skorch==1.4.0"
make poutyne "poutyne==1.19.0"
make pytorch_accelerated "pytorch-accelerated==0.1.61"
make fastai "fastai==2.8.12"
# It declares nothing of what it imports; and the name is ours, so ours must not count as it.
make basetrainer_1_0_4 --ignore-installed --no-deps "basetrainer==1.0.4" "pybaseutils" "loguru"
