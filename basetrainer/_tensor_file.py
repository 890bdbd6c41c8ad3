"""Files of tensors, read as if somebody hostile had written them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from basetrainer._torch_private import METADATA
from basetrainer.errors import CheckpointError

_REFUSED = re.compile(r"GLOBAL (\S+) (?:was not|whose)")


def read_tensor_file(path: Path, *, weights_only: bool = True, map_location: Any = "cpu") -> Any:
    """Return what ``torch.save`` wrote.

    Args:
        path: The file.
        weights_only: Whether to refuse everything but tensors and plain values; False runs code
            that the file may hold.
        map_location: Where the tensors go.

    Raises:
        CheckpointError: If it cannot be read, or says to hold more than it does; says why ("it is
            cut off").
    """
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on files that it then refuses or reads
            content = torch.load(path, map_location=map_location, weights_only=weights_only)
    except Exception as error:
        raise CheckpointError(_reason(error)) from error
    if isinstance(content, dict):
        for part in (content, *dict.values(content)):
            check_attributes(part)
    return content


def check_attributes(part: Any) -> None:
    """Refuse a dict or tensor whose methods may be replaced by attributes of its own.

    Raises:
        CheckpointError: If it has such; says why.
    """
    strange = sorted(map(str, getattr(part, "__dict__", {}).keys() - {METADATA}))
    if strange:
        raise CheckpointError(f"it sets {strange[0]!r} on a part of type {type(part).__name__}")


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than its size: 400 kB can become 400 MB."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:
        return  # no archive, or a broken one: torch reads the old form of file, too, or says so
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"it says to hold {unpacked:,} bytes, but has only {path.stat().st_size:,}; torch.save "
            f"writes no such file"
        )


def _reason(error: Exception) -> str:
    """Say it in one line, and without torch's advice to read the file in the unsafe way."""
    if found := _REFUSED.search(str(error)):
        return (
            f"it holds {found[1]}, and to load that could run code; only tensors, numbers, texts, "
            f"lists and dicts are read"
        )
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "it asks for more memory than there is"
    if "TorchScript" in str(error):
        return "it is a TorchScript program"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something else than tensors, numbers, texts, lists and dicts"
    if isinstance(error, EOFError) or "PytorchStreamReader" in str(error):
        return "it is cut off or damaged"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).partition("\n")[0] or type(error).__name__
