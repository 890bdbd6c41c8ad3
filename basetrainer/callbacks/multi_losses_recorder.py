"""MultiLossesRecorder: the mean of each of several losses, in groups with totals."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from basetrainer._logs import Logs, Metrics
from basetrainer._names import nearest
from basetrainer.callbacks.losses_recorder import NamedMeans
from basetrainer.callbacks.recorder import Recorder, Tally
from basetrainer.engine.losses import has_losses
from basetrainer.errors import UsageError

logger = logging.getLogger(__name__)


class _GroupedMeans(NamedMeans):
    """The means of the groups' losses."""

    def __init__(self, groups: Mapping[str, Sequence[str]], skips_nonfinite: bool) -> None:
        super().__init__(skips_nonfinite)
        self._groups = groups

    def add(self, inputs: Any, outputs: Any, losses: Any, count: float | Tensor) -> None:
        if not has_losses(losses):
            return
        if not self.means:
            self._check(losses)
        if self._groups:  # of those that this batch has
            wanted = {name for names in self._groups.values() for name in names}
            losses = {name: value for name, value in losses.items() if name in wanted}
        super().add(inputs, outputs, losses, count)

    def arranged(self, means: dict[str, float]) -> Metrics:
        groups = self._groups or {"loss": list(means)}
        figures = {}
        for group, names in groups.items():
            found = {name: means[name] for name in names if name in means}
            if len(found) >= 2:
                found[f"total_{group}"] = sum(found.values())
            if found:
                figures[group] = found
        return figures

    def _check(self, losses: Any) -> None:
        """Say what is wrong with the losses of the first batch."""
        if not isinstance(losses, Mapping):
            raise UsageError(
                f"MultiLossesRecorder needs run_step to return the losses as a dict, but got a "
                f"{type(losses).__name__}. Use LossesRecorder for one loss."
            )
        wanted = {name: group for group, names in self._groups.items() for name in names}
        others = [name for name in losses if name not in wanted]
        for name, group in wanted.items():
            if name in losses:
                continue
            # It may be one that other batches have, unless one of these is meant by it.
            meant = nearest(name, others)
            if meant or len(others) == len(losses):
                hint = f" Did you mean {meant!r}?" if meant else ""
                raise UsageError(
                    f"MultiLossesRecorder's group {group!r} names the loss {name!r}, which "
                    f"run_step does not return.{hint} It returns: {', '.join(losses)}."
                )


class MultiLossesRecorder(Recorder):
    """Writes the mean of each loss into ``logs[phase][group][name]``, and totals.

    ``{"loss": ["l1", "l2"]}`` gives ``logs[phase]["loss"] = {"l1": ..., "l2": ...,
    "total_loss": ...}``; ``total_GROUP`` is there only for two losses or more. A loss that some
    batches lack is averaged over those that have it.

    Args:
        indicators: Groups of names of losses; by default every loss that ``run_step`` returns, in
            a group ``loss``.

    Raises:
        UsageError: At the first batch, if the losses are no dict, or a name looks like a misspelt
            one, or none of the names is there.
    """

    def __init__(self, indicators: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        self.indicators = {
            group: [names] if isinstance(names, str) else list(names)
            for group, names in (indicators or {}).items()
        }
        self._has_warned = False

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Settle the training figures, and name losses that never came."""
        tally = self._tallies.get("train")
        super().on_test_begin(logs)
        seen = tally.means if isinstance(tally, _GroupedMeans) else {}
        missing = [one for names in self.indicators.values() for one in names if one not in seen]
        if seen and missing and not self._has_warned:
            self._has_warned = True
            logger.warning("no batch of the epoch had the losses %s", ", ".join(missing))

    def new_tally(self) -> Tally:
        """Return empty means."""
        return _GroupedMeans(self.indicators, self.skips_nonfinite)
