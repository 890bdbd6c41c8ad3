"""What made a run: versions, git commit, command line, seed, host and start, in ``run.json``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from basetrainer.__version__ import __version__
from basetrainer.callbacks.history.metrics_jsonl import json_value
from basetrainer.utils.file_utils import write_or_warn

_GIT_SECONDS = 5.0


def write_run_info(path: Path, **more: Any) -> None:
    """Write what made this run; runs that wrote to the file before are kept under ``earlier``.

    Args:
        path: The file.
        **more: Further entries, such as the seed.
    """
    earlier: list[Any] = []
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        earlier = [*before.pop("earlier", []), before]
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # no run has been here, or the file is not ours
    info = {**run_info(), **more, **({"earlier": earlier} if earlier else {})}
    write_or_warn(path, json.dumps(json_value(info), indent=2, allow_nan=False) + "\n")


def run_info() -> dict[str, Any]:
    """Return start time, command line, host, versions, and the git commit of the program."""
    program = Path(sys.argv[0] or ".").resolve()
    return {
        "start": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [sys.executable, *sys.argv],
        "folder": os.getcwd(),  # noqa: PTH109
        "git": git_state(program if program.is_dir() else program.parent),
        "host": platform.node(),
        "system": platform.platform(),
        "versions": {
            "basetrainer": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": _version("torchvision"),
            "numpy": _version("numpy"),
            "cuda": torch.version.cuda,
        },
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that ``folder`` is at, and whether files differ from it.

    None where there is no git, no repository or no commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "is_changed": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
