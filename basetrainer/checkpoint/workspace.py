"""The folder of a run: its name, its sub-folders, the settings kept in it."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from basetrainer.checkpoint.run_folder import run_progress
from basetrainer.config.keys import read_key
from basetrainer.config.settings import as_mapping, get, origin_of, put
from basetrainer.config.yaml_file import write_yaml
from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import copy_file_to_dir, create_dir, get_time

logger = logging.getLogger(__name__)

AnyConfig = TypeVar("AnyConfig")
"""An EasyDict, a dict, a Namespace or any object with attributes."""

SETTINGS_FILE = "setup_config.yaml"

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

    With ``cfg.resume`` the folder has no time in its name, so that the run is found again:
    ``work_dir/FLAG_FLAG``. If a finished run lies there (or, with the path of another run to go on
    from, any other run), it is left alone, and the folder is ``work_dir/FLAG_FLAG-2``, ``-3``, ...

    Args:
        cfg: The config, changed in place; without ``work_dir``, runs go to ``work_space``.
        flags: What tells this run from others; see :func:`parser_work_space`.
        is_main_process: Whether this process makes the folders; true by default.
        backup: Whether the config file is copied into the folder and the merged settings written
            to ``setup_config.yaml``; true by default. A run that goes on has them already: they
            stay, since the settings of now may be refused.

    Returns:
        ``cfg``.

    Raises:
        ConfigError: If a folder cannot be made or not be written to; names path and reason.
    """
    if not _has_workspace(cfg):
        put(cfg, "work_dir", _run_folder(cfg, flags))
        put(cfg, "model_dir", str(Path(get(cfg, "work_dir"), "model")))
        put(cfg, "log_dir", str(Path(get(cfg, "work_dir"), "log")))
    if is_main_process:
        for key in ("work_dir", "model_dir", "log_dir"):
            create_dir(get(cfg, key))
        if backup and not _is_described(cfg):
            _back_up(cfg)
    return cfg


def _run_folder(cfg: Any, flags: str | Iterable[object] | None) -> str:
    """Return the folder of a run that begins, or of the one that goes on."""
    resume = read_key(cfg, "resume")
    if resume == "never":
        return parser_work_space(cfg, flags)
    # The settings may be those that a run left: then its folder is meant, not one inside it.
    is_that_of_a_run = _names_a_run(cfg)
    base = str(get(cfg, "work_dir")) if is_that_of_a_run else parser_work_space(cfg, flags, False)
    num_epochs = read_key(cfg, "num_epochs")
    for number in itertools.count(1):
        folder = base if number == 1 else f"{base}-{number}"
        progress = run_progress(Path(folder))
        if progress is None:
            return folder
        is_same = resume == "auto" or progress.resumed_from == resume
        if is_same and not progress.is_finished(num_epochs):
            logger.info("The run in %s goes on.", folder)
            return folder
        state = "is finished" if is_same else "is another run"
        logger.info("%s %s; the new run goes to %s-%d.", folder, state, base, number + 1)
    raise AssertionError("count() does not end")


def _has_workspace(cfg: Any) -> bool:
    """Say whether :func:`create_workspace` has been here.

    The settings of an earlier run, loaded from its ``setup_config.yaml``, look the same but have
    an origin: a new run must not write into the folder of the old one.
    """
    has_time = re.search(r"(^|_)\d{8}_\d{6}_\d{4}$", Path(str(get(cfg, "work_dir"))).name)
    resumes = get(cfg, "resume") not in (None, False, "never")
    is_named = has_time is not None or resumes
    return is_named and _names_a_run(cfg) and not origin_of(cfg, "model_dir")


def _names_a_run(cfg: Any) -> bool:
    """Whether the folders are those of one run."""
    work_dir = str(get(cfg, "work_dir"))
    has_model = bool(get(cfg, "model_dir") == str(Path(work_dir, "model")))
    return has_model and bool(get(cfg, "log_dir") == str(Path(work_dir, "log")))


def _is_described(cfg: Any) -> bool:
    """Whether the folder is that of a run that goes on, with its settings in it."""
    work_dir = Path(str(get(cfg, "work_dir")))
    return run_progress(work_dir) is not None and (work_dir / SETTINGS_FILE).exists()


def _back_up(cfg: Any) -> None:
    work_dir = get(cfg, "work_dir")
    try:
        if get(cfg, "config_file"):
            copy_file_to_dir(get(cfg, "config_file"), work_dir)
        write_yaml(as_mapping(cfg), Path(work_dir, SETTINGS_FILE))
    except OSError as error:
        raise ConfigError(
            f"work_dir: the settings cannot be kept in {work_dir!r}: {error.strerror or error}. "
            f"Choose another folder, or make room in this one."
        ) from error
