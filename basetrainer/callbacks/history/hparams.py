"""The settings of a run, and how it ended, as TensorBoard's HPARAMS page reads them."""

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


def session_end(*, has_failed: bool) -> Any:
    """Return the ``Summary`` that says how a run ended: TensorBoard has a maker only of its start.

    Args:
        has_failed: Whether it raised an exception.
    """
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    # Made from descriptions of messages when imported: checkers see none of their names.
    made: tuple[Any, Any, Any] = summary_pb2, api_pb2, plugin_data_pb2
    summaries, api, plugin = made
    status = api.STATUS_FAILURE if has_failed else api.STATUS_SUCCESS
    data = plugin.HParamsPluginData(session_end_info={"status": status})
    value = {
        "tag": metadata.SESSION_END_INFO_TAG,
        "metadata": metadata.create_summary_metadata(data),
    }
    return summaries.Summary(value=[value])
