#!/usr/bin/env bash
# Run the default tests in an environment of their own: another Python, another torch.
#
#     PYTHON=python3.10 benchmarks/versions.sh lowest [ARGUMENT OF PYTEST...]
#     PYTHON=python3.13 benchmarks/versions.sh newest [ARGUMENT OF PYTEST...]
#
# lowest: of each package in pyproject's `dependencies`, the lowest version that it allows.
# newest: what pip takes by itself. The environment needs 6 GB, and is gone afterwards, unless VENV
# names a folder for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

which="${1:?lowest or newest}"
shift
folder="${VENV:-$(mktemp -d)}"
[[ -n "${VENV:-}" ]] || trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
python="$folder/bin/python"

# torch>=2.10 -> torch==2.10.*; easydict>=1.10 -> easydict==1.10.*
declared="$(sed -n '/^dependencies = \[/,/^\]/s/^ *"\(.*\)",$/\1/p' pyproject.toml)"
case "$which" in
lowest) printf '%s\n' "$declared" | sed 's/>=\(.*\)/==\1.*/' > "$folder/pins.txt" ;;
newest) printf '%s\n' "$declared" > "$folder/pins.txt" ;;
*) echo "versions.sh: '$which' is neither lowest nor newest" >&2; exit 2 ;;
esac

# All in one command, so that pip picks versions that fit each other.
"$python" -m pip install --quiet --no-cache-dir --requirement "$folder/pins.txt"
"$python" -m pip install --quiet --no-cache-dir --constraint "$folder/pins.txt" --editable ".[dev]"
"$python" - <<'END'
import importlib.metadata
import platform

names = "torch", "torchvision", "numpy", "pyyaml", "easydict", "tensorboard", "tqdm"
found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
print(f"Python {platform.python_version()}: {found}")
END
"$python" -m pytest "$@"
