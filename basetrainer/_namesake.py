"""Which basetrainer this is, and who else has the name: the package index has 1.0.4 under it."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

from basetrainer.__version__ import __version__

HERE = Path(__file__).parent


def requirement(extra: str) -> str:
    """Return what pip shall install for an extra of *this* package.

    By the name alone pip would bring the old package, where this one is imported from a clone.
    """
    try:
        installed = importlib.metadata.version("basetrainer")
    except importlib.metadata.PackageNotFoundError:
        installed = ""
    where = "basetrainer" if installed == __version__ else HERE.parent
    return f"{where}[{extra}]"


def namesakes() -> list[str]:
    """Return a sentence for each other package of this name that Python can see.

    Looked for in the current folder, from where a program started here imports first, and along
    ``sys.path``. The usual one is a clone of the old repository, or what the index gave.
    """
    found = dict.fromkeys(Path(entry or ".").resolve() / "basetrainer" for entry in ["", *sys.path])
    return [
        f"{folder} is basetrainer {_version(folder)}: {_relation(folder)}"
        for folder in found
        if (folder / "__init__.py").is_file() and folder != HERE.resolve()
    ]


def _version(folder: Path) -> str:
    for name in ("__version__.py", "__init__.py"):
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if match := re.search(r"""^__version__\s*=\s*["'](.+?)["']""", text, re.M):
            return match[1]
    return "of unknown version"


def _relation(folder: Path) -> str:
    if folder.parent == Path.cwd():
        return f"programs in this folder import it, and not {HERE}."
    return f"programs import it where {HERE.parent} does not come first on sys.path."
