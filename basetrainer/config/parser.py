"""Load, save and merge settings: defaults < YAML < flags typed on the command line."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easydict import EasyDict

from basetrainer.config.keys import check_keys, warn_of_misspellings
from basetrainer.config.settings import (
    Config,
    as_mapping,
    easy2dict,
    origin_of,
    update_dict,
    with_origins,
)
from basetrainer.config.typed_flags import (
    Arguments,
    check_choices,
    convert,
    from_namespace,
    from_parser,
)
from basetrainer.config.yaml_file import YamlFile, read_yaml, write_yaml
from basetrainer.errors import ConfigError
from basetrainer.utils.log import early_lines

logger = logging.getLogger(__name__)

ARGUMENTS_FILE = "args_config.yaml"
"""What a program without a config file leaves in the current folder."""


def parser_config(args: Any, cfg_updata: bool = True) -> Config:
    """Merge the arguments of a program with the YAML file that they name as ``config_file``.

    With ``cfg_updata`` true: defaults < YAML < flags typed on the command line; a typed flag that
    overrides the file is said at INFO. With false: every argument holds, defaults included, and
    the file adds what is missing. Nested mappings are merged key by key.

    Without a config file the arguments are written to ``args_config.yaml`` in the current folder,
    and ``cfg.config_file`` names it; it is None if that folder cannot be written to.

    Args:
        args: The parsed arguments; what was typed is then read off ``sys.argv``, see
            :func:`~basetrainer.config.typed_flags.from_namespace`. Or the ``ArgumentParser``
            itself: what was typed is then known exactly, and texts of the file go through the
            ``type`` of their argument and its ``choices``.
        cfg_updata: Whether the file goes before the defaults; true by default.

    Returns:
        The settings; :func:`origin_of` says where each comes from.

    Raises:
        ConfigError: If the file cannot be read or a setting is no good; names file, line, key,
            value and mend. A parser is a command line: it says so and exits with code 2 instead.
    """
    with early_lines():
        if not isinstance(args, argparse.ArgumentParser):
            return _configure(from_namespace(args), cfg_updata)
        try:
            return _configure(from_parser(args), cfg_updata)
        except ConfigError as error:
            args.exit(2, f"{args.prog}: error: {error}\n")


def _configure(arguments: Arguments, cfg_updata: bool) -> Config:
    values = dict(arguments.values)
    origins = {key: "command line" if key in arguments.typed else "default" for key in values}
    config_file = values.get("config_file")
    file = read_yaml(config_file) if config_file else None
    if file is not None:
        values = _merge(values, file, arguments, origins, cfg_updata=cfg_updata)
    check_keys(values, origins)
    if file is not None:
        for key, action in arguments.actions.items():
            if origins.get(key) == file.origin(key):
                check_choices(key, values[key], action, origins[key])
        own = [key for key in file.values if key not in arguments.values]
        warn_of_misspellings(own, origins)
    else:
        values["config_file"] = _write_arguments(values)
    cfg = with_origins(values, origins)
    _log_values(cfg, logging.DEBUG)
    return cfg


def _merge(
    values: dict[str, Any],
    file: YamlFile,
    arguments: Arguments,
    origins: dict[str, str],
    *,
    cfg_updata: bool,
) -> dict[str, Any]:
    """Return the arguments merged with the file; enter into ``origins`` where the file holds."""
    from_file = {key: value for key, value in file.values.items() if key != "config_file"}
    fixed = arguments.typed if cfg_updata else frozenset(values)
    for key in from_file:
        if key not in fixed:
            origins[key] = file.origin(key)
            if key in arguments.actions:
                action = arguments.actions[key]
                from_file[key] = convert(key, from_file[key], action, origins[key])
        elif cfg_updata and values[key] != from_file[key]:
            logger.info(
                "%s: %r (command line) overrides %r (%s).",
                key,
                values[key],
                from_file[key],
                file.origin(key),
            )
    merged = update_dict(values, from_file)
    return update_dict(merged, {key: values[key] for key in values if key in fixed})


def _write_arguments(values: Mapping[str, Any]) -> str | None:
    try:
        write_yaml(values, ARGUMENTS_FILE)
    except OSError as error:
        logger.warning(
            "%s: the arguments are not kept in the current folder: %s. Start the program in a "
            "folder that may be written, or give it a config file.",
            ARGUMENTS_FILE,
            error.strerror or error,
        )
        return None
    return ARGUMENTS_FILE


def parser_config_file(
    config: Any, config_file: str | os.PathLike[str], cfg_updata: bool = True
) -> Config:
    """Merge a config with a YAML file.

    Args:
        config: The config, of any kind; it is not changed.
        config_file: The file.
        cfg_updata: Whether, where both have a key, the value of ``config`` holds (the default);
            otherwise that of the file does.

    Raises:
        ConfigError: If the file cannot be read or a setting is no good.
    """
    file, own = read_yaml(config_file), easy2dict(as_mapping(config))
    origins = {key: file.origin(key) for key in file.values}
    if cfg_updata:
        values = update_dict(file.values, own)
        origins.update({key: origin_of(config, key) for key in own})
    else:
        values = update_dict(own, file.values)
        origins = {**{key: origin_of(config, key) for key in own}, **origins}
    check_keys(values, origins)
    warn_of_misspellings([key for key in file.values if key not in own], origins)
    return with_origins(values, origins)


def load_config(config_file: str | os.PathLike[str] = "config.yaml", easy: bool = False) -> Any:
    """Read a YAML file as a plain dict, or as an EasyDict if ``easy`` is true.

    Raises:
        ConfigError: If the file is missing, empty or broken; names file, line and mend.
    """
    values = read_yaml(config_file).values
    return EasyDict(values) if easy else values


def save_config(cfg: Any, config_file: str | os.PathLike[str] = "config.yaml") -> str:
    """Write settings of any kind to a YAML file that :func:`load_config` reads back.

    Returns:
        The path of the file.

    Raises:
        OSError: If the file cannot be written; names it.
    """
    write_yaml(as_mapping(cfg), config_file)
    return str(config_file)


def parser_config_name(config: Any, key: str = "", join: str = "_") -> Any:
    """Return the names in a config as one text, e.g. ``{"loss": {"a": 1, "b": 2}}`` as ``"a_b"``.

    Args:
        config: A mapping; anything else is returned as it is.
        key: The entry to name: the keys of a mapping, the items of a list, or one thing. ``""``
            (the default) means the keys of ``config`` itself.
        join: What goes between the names, ``"_"`` by default; with ``""`` they are a list.
    """
    if not isinstance(config, Mapping):
        return config
    entry = config[key] if key else config
    parts = list(entry) if isinstance(entry, (Mapping, list, tuple)) else [entry]
    names = [str(part) for part in parts if part]
    return join.join(names) if join else names


def print_dict(dict_data: Any, save_path: str | os.PathLike[str] | None = None) -> None:
    """Log each setting, with its origin where it is known.

    Args:
        dict_data: Settings of any kind.
        save_path: A file that gets the same lines; none by default.
    """
    lines = _log_values(dict_data, logging.INFO)
    if save_path is not None:
        Path(save_path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _log_values(cfg: Any, level: int) -> list[str]:
    values, lines = as_mapping(cfg), []
    for key in values:
        origin = origin_of(cfg, key)
        lines.append(f"{key}: {values[key]}" + (f"  ({origin})" if origin else ""))
        logger.log(level, "%s", lines[-1])
    return lines
