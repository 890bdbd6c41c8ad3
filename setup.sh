#!/usr/bin/env bash
# Sets basetrainer up:
#   bash setup.sh            builds sdist and wheel into dist/ and installs the wheel
#   bash setup.sh example    installs what the example needs and trains on real images
#   bash setup.sh test       installs the tools and runs every check
# The last two make a virtual environment .venv, if none is active.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PY=${PYTHON:-python3}

say() { printf '\n== %s\n' "$*"; }

activate_venv() {
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        return
    fi
    if [ ! -f .venv/bin/activate ]; then
        say "making a virtual environment in .venv"
        "$PY" -m venv .venv
    fi
    # shellcheck disable=SC1091
    . .venv/bin/activate
    PY=python
}

# install EXTRA: the package in place, with one of its extras.
install() {
    say "installing (torch and torchvision are some gigabytes the first time)"
    # Both in one command, so that pip picks versions that fit each other.
    "$PY" -c 'import torch, torchvision' 2>/dev/null || "$PY" -m pip install -q torch torchvision
    "$PY" -m pip install -q -e ".[$1]"
}

case "${1:-}" in
"")
    "$PY" -m pip install -q build
    rm -rf dist
    "$PY" -m build
    "$PY" -m pip install -q --force-reinstall --no-deps dist/basetrainer-*.whl
    "$PY" -m pip install -q dist/basetrainer-*.whl
    ;;
example)
    shift
    activate_venv
    install example
    say "training on handwritten digits"
    "$PY" example.py --config_file configs/config.yaml "$@"
    ;;
test)
    shift
    activate_venv
    install dev
    say "ruff format"
    ruff format --check .
    say "ruff check"
    ruff check .
    say "mypy"
    mypy
    say "pyright"
    pyright
    say "import-linter"
    lint-imports
    say "pytest"
    "$PY" -m pytest -n 2 --dist worksteal "$@"
    ;;
*)
    echo "setup.sh: unknown argument '$1'; use none, example or test" >&2
    exit 2
    ;;
esac
