"""PruneOptions: how to prune, by names and numbers that are checked before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from basetrainer._optional import require
from basetrainer.errors import ConfigError
from basetrainer.config.settings import get, origin_of
from basetrainer.config.values import as_bool, as_choice, as_float, as_int

ALGORITHMS = ("L1", "L2", "FPGM", "Slim", "Level")
BACKENDS = ("nni", "torch_pruning")


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What the keys of ``cfg`` say about pruning; each has a default.

    Raises:
        ConfigError: If a value is of the wrong type or out of range.
    """

    sparsity: float = 0.5
    """Share of the channels that each layer loses, between 0 and 1. Half of the channels are three
    quarters of the parameters. With ``Level`` it is the share of the weights."""

    prune_mod: str = "L1"
    """Which channels go: those with the smallest 1-norm or 2-norm (``L1``, ``L2``), those nearest
    to the others (``FPGM``), those with the smallest BatchNorm scale (``Slim``). ``Level`` makes
    single weights 0; nothing gets smaller."""

    prune_backend: str = "nni"
    """``nni`` or ``torch_pruning``; neither stands in for the other."""

    prune_rounds: int = 1
    """In how many rounds, with training after each, the sparsity is reached."""

    prune_epochs: int | None = None
    """Epochs of training after each round; by default ``num_epochs``."""

    prune_exclude: tuple[str, ...] = ()
    """Patterns of names of layers that are left as they are, as for ``freeze``."""

    prune_linear: bool = False
    """Whether hidden Linear layers lose outputs too."""

    dependency_aware: bool = True
    """Whether layers that are added up lose the same channels. Without it, little of a residual
    network can be removed. torch-pruning always does so."""

    def __post_init__(self) -> None:
        if not self.dependency_aware and self.prune_backend == "torch_pruning":
            raise ConfigError(
                "dependency_aware: False does not go with torch_pruning, which always is. Leave it "
                "out, or choose the backend nni."
            )

    def __str__(self) -> str:
        backend = "" if self.prune_mod == "Level" else f"{self.prune_backend} "
        return f"{backend}{self.prune_mod} at sparsity {self.sparsity:.3g}"

    @classmethod
    def checked(cls, origins: dict[str, str] | None = None, **values: Any) -> PruneOptions:
        """Return the options with each value converted and checked; None is the default.

        Args:
            origins: Where each value comes from, for the message; may lack keys.
            **values: As the fields.
        """
        origins = origins or {}
        return cls(
            **{
                name: _check(name, value, origins.get(name, ""))
                for name, value in values.items()
                if value is not None
            }
        )

    @classmethod
    def from_cfg(cls, cfg: Any) -> PruneOptions:
        """Pick the keys out of a configuration."""
        names = [field.name for field in fields(cls)]
        values = {name: get(cfg, name) for name in names}
        return cls.checked({name: origin_of(cfg, name) for name in names}, **values)

    def require_backend(self) -> None:
        """Import the backend.

        Raises:
            MissingExtraError: If it is not installed; the message says how to install it.
        """
        if self.prune_mod != "Level":
            require_backend(self.prune_backend)

    @property
    def sparsity_of_round(self) -> float:
        """Share of the channels left that each round removes, for ``sparsity`` in the end."""
        kept: float = (1.0 - self.sparsity) ** (1.0 / self.prune_rounds)
        return 1.0 - kept


def require_backend(backend: str) -> Any:
    """Return the package of a backend, or say how to install it."""
    return require(backend, extra="prune", needed_by=f"prune_backend: {backend}")


def _check(name: str, value: Any, origin: str) -> Any:
    if name == "sparsity":
        return as_float(name, value, origin, above=0.0, below=1.0, example="0.5")
    if name in ("prune_rounds", "prune_epochs"):
        return as_int(name, value, origin, minimum=1)
    if name == "prune_exclude":
        return _patterns(value)
    if name in ("prune_linear", "dependency_aware"):
        return as_bool(name, value, origin)
    return as_choice(name, value, origin, ALGORITHMS if name == "prune_mod" else BACKENDS)


def _patterns(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(one) for one in value)
