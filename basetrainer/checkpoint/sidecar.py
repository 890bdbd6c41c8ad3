"""Sidecar: the file beside the best weights that says how to use them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basetrainer.config.yaml_dialect import to_plain
from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.utils.file_utils import write_or_warn

NAME = "weights.json"
"""The file, in the folder of the weights."""

_FORMAT = 1
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Sidecar:
    """What is needed to use the best weights of a run, readable without loading a tensor."""

    weights: str
    """The file of the weights, in the same folder."""

    epoch: int
    """In which they were the best, from 0."""

    indicator: str
    """The figure that says so."""

    figure: float
    """Its value."""

    mode: str = ""
    """Whether smaller (``min``) or larger (``max``) values are better."""

    earlier: list[str] = field(default_factory=list)
    """Best weights of earlier runs in the same folder, by the same figure, that are no worse."""

    are_averaged: bool = False
    """Whether they are an average (``ema_decay``), not the ones that were trained."""

    net: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``get_models`` that make the network; empty if it made it not."""

    class_names: list[str] = field(default_factory=list)
    """In the order of the outputs; empty if nobody gave any."""

    input_size: list[int] | None = None
    """``[W, H]`` of the images."""

    transform: Any = None
    """The setting ``test_transform``."""

    mean: list[float] | None = None
    """Subtracted from the channels of the images on the scale 0 to 1; None: not normalised."""

    std: list[float] | None = None
    """Divides them."""

    format: int = _FORMAT

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all; a disk without room for it is a warning."""
        text = json.dumps(to_plain(dataclasses.asdict(self), {}), indent=2, ensure_ascii=False)
        write_or_warn(folder / NAME, f"{text}\n")

    def comparable_in(self, folder: Path) -> list[str]:
        """Return the weights that the sidecar in a folder names, if they go by the same figure."""
        try:
            found = self._load(folder / NAME)
        except (CheckpointError, OSError):
            return []
        is_alike = (found.indicator, found.mode) == (self.indicator, self.mode)
        return [found.weights, *found.earlier] if is_alike else []

    @classmethod
    def read(cls, run: Path) -> tuple[Sidecar, Path]:
        """Return the sidecar of a run, and the file of the weights.

        Args:
            run: Its folder, or the folder of its weights.

        Raises:
            ConfigError: If there is none.
            CheckpointError: If it is damaged, or the weights are gone.
        """
        places = [folder / NAME for folder in (run, run / "model")]
        file = next((one for one in places if one.is_file()), None)
        if file is None:
            raise ConfigError(
                f"{run} has no {NAME}, neither in it nor in its folder model. Name the folder of a "
                f"run whose ModelCheckpoint had an indicator and found a best model."
            )
        try:
            sidecar = cls._load(file)
        except OSError as error:
            raise CheckpointError(f"{file} is damaged: {error!r}.") from error
        weights = file.parent / Path(sidecar.weights).name
        if not weights.is_file():
            raise CheckpointError(f"{file} names {weights.name}, which is gone.")
        return sidecar, weights

    @classmethod
    def _load(cls, file: Path) -> Sidecar:
        try:
            if file.stat().st_size > _MAX_BYTES:
                raise CheckpointError(f"{file} is far too large for a sidecar.")
            values = json.loads(file.read_text(encoding="utf-8"))
            if values["format"] != _FORMAT:
                raise CheckpointError(
                    f"{file} has the format {values['format']}; this version reads {_FORMAT}: "
                    f"update basetrainer."
                )
            sidecar = cls(**values)
            for name in (sidecar.weights, *sidecar.earlier):
                Path(name)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{file} is damaged: {error!r}.") from error
        return sidecar
