"""One process of the benchmark: a loop and the hand-written one take turns, and print their times.

python -m benchmarks.overhead.measure '{"loop": "ours", "case": "mlp", "level": "full"}'
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.overhead.work import Work

TURNS = 3


def train(loop: str, case: str, level: str, steps: int) -> tuple[tuple[float, float], Tensor]:
    """Return the microseconds of a step (CPU, wall), and the weights at the end."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(case, level, steps, Path(folder))
        model = importlib.import_module(f"benchmarks.overhead.{loop}").train(work)
        weights = torch.cat([one.detach().flatten() for one in model.parameters()])
        return work.data.per_step(), weights


def main(settings: dict[str, Any]) -> None:
    """Print one line of JSON."""
    torch.set_num_threads(1)
    loop, case, level = settings["loop"], settings["case"], settings["level"]
    steps, turns = settings["steps"], settings.get("turns", TURNS)
    for one in ("raw", loop):  # whatever is imported or allocated at the first use
        train(one, case, level, 20)
    times: list[tuple[float, float]] = []
    raw: list[tuple[float, float]] = [train("raw", case, level, steps)[0]]
    apart = 0.0
    for _ in range(turns):
        seconds, mine = train(loop, case, level, steps)
        times.append(seconds)
        seconds, reference = train("raw", case, level, steps)
        raw.append(seconds)
        apart = max(apart, float((mine - reference).abs().max() / reference.abs().max()))
    print(json.dumps({"raw": raw, "loop": times, "apart": apart}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
