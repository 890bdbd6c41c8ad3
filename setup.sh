#!/usr/bin/env bash
# Sets basetrainer up:
#   bash setup.sh            builds sdist and wheel into dist/ and installs the wheel
#   bash setup.sh example    installs what the example needs and trains on real images
#   bash setup.sh test       installs the tools and runs every check
# The last two make a virtual environment .venv, if none is active.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '\n== %s\n' "$*"; }

activate_venv() {
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        return
    fi
    if [ ! -f .venv/bin/activate ]; then
        say "making a virtual environment in .venv"
        "${PYTHON:-python3}" -m venv .venv
    fi
    # shellcheck disable=SC1091
    . .venv/bin/activate
}

# install EXTRA: the package in place, with one of its extras.
install() {
    say "installing (torch and torchvision are some gigabytes the first time)"
    # Both in one command, so that pip picks versions that fit each other.
    python -c 'import torch, torchvision' 2>/dev/null || python -m pip install -q torch torchvision
    python -m pip install -q -e ".[$1]"
}

case "${1:-}" in
"")
    python -m pip install -q build
    rm -rf dist
    python -m build
    python -m pip install --force-reinstall --no-deps dist/basetrainer-*.whl
    python -m pip install -q dist/basetrainer-*.whl
    ;;
example)
    shift
    activate_venv
    install example
    say "training on handwritten digits"
    python example.py --config_file configs/config.yaml "$@"
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
    say "import-linter"
    lint-imports
    say "pytest"
    python -m pytest "$@"
    ;;
*)
    echo "setup.sh: unknown argument '$1'; use none, example or test" >&2
    exit 2
    ;;
esac
