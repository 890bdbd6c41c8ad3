"""The config key ``unfreeze``: what is thawed at which epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basetrainer._names import did_you_mean
from basetrainer.config.checks import Check
from basetrainer.config.values import as_float, as_int
from basetrainer.errors import ConfigError

_KEYS = ("at_epoch", "layers", "lr_scale")
_EXAMPLE = "[{at_epoch: 5, layers: [layer4], lr_scale: 0.1}]"


def _stages(
    name: str, value: Any, origin: str, *, example: str | None = None
) -> tuple[dict[str, Any], ...]:
    """Return the stages, each with ``at_epoch``, ``layers`` and ``lr_scale``.

    Raises:
        ConfigError: If it is no list of such mappings; names key, value, origin and fix.
    """
    place = f" ({origin})" if origin else ""
    stages: list[dict[str, Any]] = []
    for stage in [value] if isinstance(value, Mapping) else value if _is_list(value) else [value]:
        if not isinstance(stage, Mapping) or not {"at_epoch", "layers"} <= stage.keys():
            raise ConfigError(
                f"{name}: {stage!r}{place} does not say at_epoch and layers. Write {_EXAMPLE}."
            )
        for key in stage:
            if key not in _KEYS:
                raise ConfigError(
                    f"{name}: {key!r}{place} is none of {', '.join(_KEYS)}."
                    f"{did_you_mean(str(key), _KEYS)} Write {_EXAMPLE}."
                )
        layers = stage["layers"]
        layers = [layers] if isinstance(layers, str) else layers
        if not _is_list(layers) or not layers or not all(isinstance(one, str) for one in layers):
            raise ConfigError(
                f"{name}: layers: {stage['layers']!r}{place} is no list of names. Write {_EXAMPLE}."
            )
        scale = stage.get("lr_scale")
        stages.append(
            {
                "at_epoch": as_int(f"{name}.at_epoch", stage["at_epoch"], origin, minimum=0),
                "patterns": list(layers),
                "lr_scale": 1.0
                if scale is None
                else as_float(f"{name}.lr_scale", scale, origin, above=0.0),
            }
        )
    return tuple(stages)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


as_stages = Check("list of {at_epoch, layers, lr_scale}", _stages)
"""The check of the key."""
