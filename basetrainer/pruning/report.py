"""PruningReport: what pruning cost and gained, stage by stage, as a table and in TensorBoard."""

from __future__ import annotations

import copy
import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from basetrainer._logs import Metrics, metrics_by_set
from basetrainer.checkpoint.run_folder import STAGES, read_stages
from basetrainer.models.summary import model_summary
from basetrainer.pruning.options import PruneOptions
from basetrainer.utils.file_utils import write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruningStage:
    """One row of a :class:`PruningReport`."""

    name: str
    """``trained`` or ``before``, then ``pruned`` and ``trained on`` of each round."""

    parameters: int
    """Numbers in all parameters."""

    macs: int
    """Multiply-adds of one sample."""

    figures: dict[str, float]
    """Those of the test."""

    weights: str
    """The file; empty for weights that no file has."""


class PruningReport:
    """Collects the stages, and writes them to ``pruning.md`` and ``stages.json`` after each.

    Args:
        folder: Where the files go.
        options: How was pruned.
        goes_on: Whether the figures of stages that an earlier process told are taken from it.

    Attributes:
        stages: What was added.
        known: The figures of stages that an earlier process of this run has tested, by name.
        latencies: Median time of a forward pass of one sample on this machine, in milliseconds, by
            parameters and MACs. All networks are timed in turn, so that what else the machine does
            troubles them alike.
    """

    def __init__(self, folder: Path, options: PruneOptions, *, goes_on: bool = False) -> None:
        self.folder = folder
        self.options = options
        self.known: dict[str, Metrics] = {}
        if goes_on:
            self.known = dict(read_stages(folder).get("figures") or {})
        self.stages: list[PruningStage] = []
        self.latencies: dict[tuple[int, int], float] = {}
        self._networks: dict[tuple[int, int], nn.Module] = {}
        self._conditions = ""

    def add(
        self, name: str, model: nn.Module, shape: Sequence[int], test: Metrics, weights: str = ""
    ) -> None:
        """Measure a network and write the report so far.

        Args:
            name: The stage.
            model: The network.
            shape: ``(C, H, W)`` of a sample.
            test: Its figures, as ``trainer.test()`` returns them.
            weights: The file they were loaded from, if there is one.
        """
        summary = model_summary(model, shape)
        kind = summary.parameters, summary.macs
        self.stages.append(PruningStage(name, *kind, _figures(test), weights))
        if kind not in self._networks:
            self._networks[kind] = copy.deepcopy(model).eval()  # not compiled
            times = latencies(list(self._networks.values()), shape)
            self.latencies = dict(zip(self._networks, times, strict=True))
        device = next(model.parameters()).device
        threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
        size = "x".join(str(one) for one in shape)
        self._conditions = f"one sample of {size}, {device}{threads}, torch {torch.__version__}"
        self.write(is_finished=False)
        told = "".join(f", {key} {value:.4g}" for key, value in self.stages[-1].figures.items())
        logger.info("%s: %.2f M parameters%s", name, summary.parameters / 1e6, told)

    def write(self, *, is_finished: bool) -> None:
        """Write the files.

        Args:
            is_finished: Whether no stage follows.
        """
        figures = {**self.known, **{stage.name: stage.figures for stage in self.stages}}
        stages = json.dumps({"is_finished": is_finished, "figures": figures}, indent=1)
        write_atomically(self.folder / STAGES, lambda file: file.write(stages.encode()))
        if self.stages:
            text = f"{self}"
            write_atomically(self.folder / "pruning.md", lambda file: file.write(text.encode()))

    def to_tensorboard(self, log_dir: Path) -> None:
        """Write the stages as steps 0, 1, ... of ``pruning/...``, and the table as a text."""
        from torch.utils.tensorboard import SummaryWriter  # costs a second of imports

        writer = SummaryWriter(str(log_dir))
        for step, stage in enumerate(self.stages):
            values = {
                "parameters_in_M": stage.parameters / 1e6,
                "MACs_in_M": stage.macs / 1e6,
                "latency_in_ms": self.latencies[stage.parameters, stage.macs],
                **stage.figures,
            }
            for name, value in values.items():
                writer.add_scalar(f"pruning/{name}", value, step)
        writer.add_text("pruning", self.table())
        writer.close()

    def table(self) -> str:
        """Return the stages as a table in Markdown."""
        names = list(dict.fromkeys(name for stage in self.stages for name in stage.figures))
        head = ["stage", "parameters", "MACs", "latency", *names, "weights"]
        rows = [
            [
                stage.name,
                f"{stage.parameters / 1e6:.2f} M ({stage.parameters / first.parameters:.0%})",
                f"{stage.macs / 1e6:.1f} M ({stage.macs / max(first.macs, 1):.0%})",
                f"{self.latencies[stage.parameters, stage.macs]:.2f} ms",
                *(f"{stage.figures[name]:.4g}" if name in stage.figures else "" for name in names),
                f"`{self._relative(stage.weights)}`" if stage.weights else "",
            ]
            for first in self.stages[:1]
            for stage in self.stages
        ]
        return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])

    def __str__(self) -> str:
        rounds = self.options.prune_rounds
        told = "" if rounds == 1 else f" in {rounds} rounds"
        return (
            f"# Pruned by {self.options}{told}\n\n{self.table()}\n\n"
            f"Latency: median forward pass of {self._conditions}. `basetrainer.load_pruned(FILE)` "
            f"rebuilds a pruned network.\n"
        )

    def _relative(self, weights: str) -> str:
        """Return the path of a file as it is called in the report's folder."""
        try:
            return Path(weights).relative_to(self.folder).as_posix()
        except ValueError:
            return Path(weights).as_posix()


def latencies(
    models: Sequence[nn.Module], shape: Sequence[int], *, seconds: float = 1.0
) -> list[float]:
    """Return the median time of a forward pass of one sample of each network, in milliseconds.

    Args:
        models: Networks in evaluation mode, on one device; they are run in turn.
        shape: ``(C, H, W)`` of the sample.
        seconds: How long to measure each; there are at least 5 and at most 100 passes.
    """
    first = next(models[0].parameters())
    images = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0)).to(first)
    is_cpu = first.device.type == "cpu"
    times: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + seconds * len(models)
    with torch.inference_mode():
        for model in models:
            model(images)  # what is prepared at the first pass
        while len(times[0]) < 5 or (time.perf_counter() < end and len(times[0]) < 100):
            for model, own in zip(models, times, strict=True):
                start = time.perf_counter()
                model(images)
                if not is_cpu:
                    torch.accelerator.synchronize(first.device)
                own.append(time.perf_counter() - start)
    return [1e3 * statistics.median(own) for own in times]


def _figures(test: Metrics) -> dict[str, float]:
    """Return the figures that are numbers, those of several test sets as ``SET/NAME``."""
    return {
        f"{group}/{name}" if group else name: float(value)
        for group, metrics in metrics_by_set(test).items()
        for name, value in metrics.items()
        if not isinstance(value, (Mapping, str, Sequence))
    }
