"""PruneOptions: how to prune, by names and numbers that are checked before anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from basetrainer._optional import require
from basetrainer.config import checks as c
from basetrainer.config.keys import declares_keys, key, read_keys
from basetrainer.errors import ConfigError

ALGORITHMS = ("L1", "L2", "FPGM", "Slim", "Level")
BACKENDS = ("nni", "torch_pruning")


@declares_keys
@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What the keys of ``cfg`` say about pruning; each has a default.

    Half of the channels are three quarters of the parameters. ``L1`` and ``L2`` remove those with
    the smallest norm, ``FPGM`` those nearest to the others, ``Slim`` those with the smallest
    BatchNorm scale; ``Level`` makes single weights 0, and nothing gets smaller. Without
    ``dependency_aware``, little of a residual network can be removed; torch-pruning always is.

    Raises:
        ConfigError: If a value is of the wrong type or out of range.
    """

    sparsity: float = key(0.5, c.FRACTION, "Share of each layer's channels that goes.", "0.5")
    prune_mod: str = key("L1", c.choice(*ALGORITHMS), "Which go; Level: single weights.")
    prune_backend: str = key("nni", c.choice(*BACKENDS), "What prunes.")
    prune_rounds: int = key(1, c.COUNT, "Rounds of pruning and training that reach sparsity.")
    prune_epochs: int | None = key(None, c.COUNT, "Epochs after each round; null: num_epochs.")
    prune_exclude: tuple[str, ...] = key((), c.as_patterns, "Layers to leave alone.", "[head]")
    prune_linear: bool = key(False, c.SWITCH, "Whether hidden Linear layers lose outputs too.")
    dependency_aware: bool = key(True, c.SWITCH, "Whether added layers lose the same channels.")

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
    def from_cfg(cls, cfg: Any) -> PruneOptions:
        """Pick the keys out of a config, each converted and checked; None is the default."""
        return read_keys(cls, cfg)

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
