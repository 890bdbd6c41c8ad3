"""Where a dry run writes: folders of a configuration, moved into a temporary one."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from easydict import EasyDict

from basetrainer.config.keys import read_key
from basetrainer.config.settings import as_mapping, get, put
from basetrainer.engine.preflight.estimate import existing
from basetrainer.errors import ConfigError

_OUTPUTS = ("model_dir", "log_dir", "model_root", "log_root")
"""Keys, beside ``work_dir``, that say where a run writes."""

_INPUTS = ("resume", "finetune", "config_file", "train_data", "test_data", "data_root")
"""Keys whose paths are read; they may lie in the folder of a run."""


def target_folder(cfg: Any) -> Path:
    """Return where the real run will write."""
    for key in ("work_dir", *_OUTPUTS):
        if get(cfg, key):
            return Path(str(get(cfg, key)))
    return Path()


def redirected(cfg: Any, folder: Path) -> Any:
    """Return a copy of the settings that writes to ``folder`` and can go on."""
    changed = moved(cfg, folder)
    put(changed, "resume", "auto")
    put(changed, "save_every_epochs", 1)
    put(changed, "num_epochs", max(2, read_key(cfg, "num_epochs")))
    return changed


def moved(cfg: Any, folder: Path) -> Any:
    """Return a copy of the settings that writes to ``folder``."""
    changed = copy.deepcopy(cfg) if cfg is not None else EasyDict()
    old = get(cfg, "work_dir")
    is_of_a_run = bool(old) and get(cfg, "model_dir") == str(Path(str(old), "model"))
    new = folder / Path(str(old)).name if is_of_a_run else folder
    put(changed, "work_dir", str(new))
    keys: set[str] = set(_OUTPUTS)
    if is_of_a_run:  # whatever else lies in the folder of the run
        keys.update(key for key in as_mapping(cfg) if key not in (*_INPUTS, "work_dir"))
    for key in keys:
        value = get(cfg, key)
        if not value or not isinstance(value, (str, os.PathLike)):
            continue
        if old and Path(value).is_relative_to(str(old)):
            put(changed, key, str(new / Path(value).relative_to(str(old))))
        elif key in _OUTPUTS:
            put(changed, key, str(new / key))
    return changed


def escaping(callbacks: Iterable[Any], folder: Path) -> str:
    """Return which callback writes outside of ``folder``, and where; "" if none is known to."""
    for callback in callbacks:
        for name in ("model_dir", "log_dir", "confusion_matrix"):
            path = getattr(callback, name, None)
            if path and isinstance(path, (str, os.PathLike)):
                where = Path(path).absolute()
                if not where.is_relative_to(folder.absolute()):
                    return f"{type(callback).__name__} writes to {os.fspath(path)!r}"
    return ""


def refuse_unwritable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written, without making it.

    Raises:
        ConfigError: Names it.
    """
    above = existing(folder)
    if not above.is_dir():
        raise ConfigError(
            f"work_dir: {str(folder)!r} cannot be made: {above} is a file. Choose another folder."
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(
            f"work_dir: {str(folder)!r} cannot be written: no permission for {above}. Choose "
            f"another folder."
        )
