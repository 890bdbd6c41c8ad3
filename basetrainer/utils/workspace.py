"""The folder of a run: its name, its sub-folders, the settings kept in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from basetrainer.errors import ConfigError
from basetrainer.utils.config_dict import as_mapping, get, origin_of, put
from basetrainer.utils.file_utils import copy_file_to_dir, create_dir, get_time
from basetrainer.utils.yaml_file import write_yaml

AnyConfig = TypeVar("AnyConfig")
"""An EasyDict, a dict, a Namespace or any object with attributes."""

DEFAULT_WORK_DIR = "work_space"
"""Where runs go if the config has no ``work_dir``."""


def parser_work_space(
    work_dir: Any, flags: str | Iterable[object] | None = None, time: bool = True
) -> str:
    """Return the folder of a run: ``work_dir/FLAG_FLAG_TIME``.

    Args:
        work_dir: The folder of all runs, or a config that has it as ``work_dir``.
        flags: What tells this run from others: one text, or several things whose ``str()`` is
            joined by underscores, empty ones left out. None (the default) is nothing.
        time: Whether the time, as :func:`~basetrainer.utils.file_utils.get_time` has it, comes
            last; true by default.
    """
    if not isinstance(work_dir, (str, os.PathLike)):
        work_dir = get(work_dir, "work_dir") or DEFAULT_WORK_DIR
    parts = [flags] if isinstance(flags, str) else list(flags or ())
    name = "_".join(str(part) for part in parts if part)
    if time:
        name = "_".join(part for part in (name, get_time()) if part)
    return str(Path(work_dir, name))


def create_workspace(
    cfg: AnyConfig,
    flags: str | Iterable[object] | None = None,
    is_main_process: bool = True,
    backup: bool = True,
) -> AnyConfig:
    """Give a run its folder, with ``model`` and ``log`` in it.

    Sets ``cfg.work_dir`` to ``work_dir/FLAG_FLAG_TIME``, ``cfg.model_dir`` and ``cfg.log_dir``.
    Called again with the same config, it leaves them as they are.

    Args:
        cfg: The config, changed in place; without ``work_dir``, runs go to ``work_space``.
        flags: What tells this run from others; see :func:`parser_work_space`.
        is_main_process: Whether this process makes the folders; true by default.
        backup: Whether the config file is copied into the folder and the merged settings written
            to ``setup_config.yaml``; true by default.

    Returns:
        ``cfg``.

    Raises:
        ConfigError: If a folder cannot be made or not be written to; names path and reason.
    """
    if not _has_workspace(cfg):
        put(cfg, "work_dir", parser_work_space(cfg, flags))
        put(cfg, "model_dir", str(Path(get(cfg, "work_dir"), "model")))
        put(cfg, "log_dir", str(Path(get(cfg, "work_dir"), "log")))
    if is_main_process:
        for key in ("work_dir", "model_dir", "log_dir"):
            create_dir(get(cfg, key))
        if backup:
            _back_up(cfg)
    return cfg


def _has_workspace(cfg: Any) -> bool:
    """Say whether :func:`create_workspace` has been here.

    The settings of an earlier run, loaded from its ``setup_config.yaml``, look the same but have
    an origin: a new run must not write into the folder of the old one.
    """
    work_dir = str(get(cfg, "work_dir"))
    return (
        re.search(r"(^|_)\d{8}_\d{6}_\d{4}$", Path(work_dir).name) is not None
        and get(cfg, "model_dir") == str(Path(work_dir, "model"))
        and get(cfg, "log_dir") == str(Path(work_dir, "log"))
        and not origin_of(cfg, "model_dir")
    )


def _back_up(cfg: Any) -> None:
    work_dir = get(cfg, "work_dir")
    try:
        if get(cfg, "config_file"):
            copy_file_to_dir(get(cfg, "config_file"), work_dir)
        write_yaml(as_mapping(cfg), Path(work_dir, "setup_config.yaml"))
    except OSError as error:
        raise ConfigError(
            f"work_dir: the settings cannot be kept in {work_dir!r}: {error.strerror or error}. "
            f"Choose another folder, or make room in this one."
        ) from error
