"""The settings of a run as TensorBoard's HPARAMS page reads them."""

# pyright: reportAttributeAccessIssue=false
# What protobuf makes at import is seen by no checker.
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Value = bool | float | str

PLACES = (
    *("config_file", "work_dir", "model_dir", "log_dir", "model_root", "log_root"),
    *("class_name", "classes"),
)
"""Settings that say where a run is and what its classes are called: nobody tunes them."""


def flat_settings(cfg: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Return settings without depth: ``{"optimizer.lr": 0.1}``; lists become text.

    :data:`PLACES` are left out, and what is neither number, text, list nor mapping.
    """
    found: dict[str, Value] = {}
    for key, value in cfg.items():
        name = f"{prefix}{key}"
        if name in PLACES:
            continue
        if isinstance(value, Mapping):
            found.update(flat_settings(value, f"{name}."))
        elif isinstance(value, (list, tuple)):
            found[name] = str(list(value))
        elif isinstance(value, float) and not math.isfinite(value):
            found[name] = str(value)
        elif isinstance(value, (bool, int, float, str)):
            found[name] = value
    return found


def session_start(settings: Mapping[str, Value], seconds: float) -> dict[str, Any]:
    """Return the ``Summary.Value`` with the settings of a run.

    There is no list of hyperparameters and metrics beside it: TensorBoard then takes those that it
    finds, so that runs with different ones stand in one table.

    Args:
        settings: From :func:`flat_settings`.
        seconds: When the run began, since the epoch of the clock.
    """
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(start_time_secs=seconds)
    for name, value in settings.items():
        kind = (
            "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        )
        setattr(info.hparams[name], f"{kind}_value", value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return _value(metadata.SESSION_START_INFO_TAG, data)


def session_end(seconds: float, *, has_failed: bool) -> dict[str, Any]:
    """Return the ``Summary.Value`` that says how a run ended.

    Args:
        seconds: When it ended, since the epoch of the clock.
        has_failed: Whether it raised an exception.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_FAILURE if has_failed else api_pb2.STATUS_SUCCESS
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=seconds)
    return _value(
        metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info)
    )


def _value(tag: str, data: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams import metadata

    return {"tag": tag, "metadata": metadata.create_summary_metadata(data)}
