"""One process of the benchmark: a loop and the hand-written one take turns, and their times are told.

python -m benchmarks.overhead.measure '{"loop": "ours", "case": "mlp", "levels": ["full"]}' [FILE]
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.overhead.work import LOG_EVERY, Work

STEPS = 2000
TURNS = 3
WARM = LOG_EVERY + 10
"""Steps before anything counts: whatever is imported or allocated at the first use."""


def train(loop: str, case: str, level: str, steps: int) -> tuple[tuple[float, float], Tensor]:
    """Return the microseconds of a step (CPU, wall), and the weights at the end."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(case, level, steps, Path(folder))
        model = importlib.import_module(f"benchmarks.overhead.{loop}").train(work)
        weights = torch.cat([one.detach().flatten() for one in model.parameters()])
        return work.data.per_step(), weights


def compare(loop: str, case: str, level: str, steps: int, turns: int) -> dict[str, Any]:
    """Let the two take turns: raw, loop, raw, loop, ..., raw."""
    train(loop, case, level, WARM)
    times: list[tuple[float, float]] = []
    raw: list[tuple[float, float]] = [train("raw", case, level, steps)[0]]
    apart = 0.0
    for _ in range(turns):
        seconds, mine = train(loop, case, level, steps)
        times.append(seconds)
        seconds, reference = train("raw", case, level, steps)
        raw.append(seconds)
        apart = max(apart, float((mine - reference).abs().max() / reference.abs().max()))
    return {"raw": raw, "loop": times, "apart": apart}


def peak_mb() -> float:
    """Return the most memory that this process ever held, in MB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what was found at each level; where the loop fails, the error.

    Args:
        settings: ``loop``, ``case``, ``levels``; ``steps`` and ``turns`` if not the usual ones.
    """
    loop, case, levels = settings["loop"], settings["case"], settings["levels"]
    steps, turns = settings.get("steps", STEPS), settings.get("turns", TURNS)
    for level in levels:
        train("raw", case, level, WARM)
    before = peak_mb()  # the raw loop's; what comes on top is the other one's
    found: dict[str, Any] = {}
    for level in levels:
        try:
            found[level] = compare(loop, case, level, steps, turns)
            found[level]["memory"] = peak_mb() - before
        except Exception as error:
            traceback.print_exc()
            found[level] = {"error": f"{type(error).__name__}: {error}"}
    return found


def main() -> None:
    """Write JSON into the file, or print it if there is none."""
    torch.set_num_threads(1)
    text = json.dumps(measure(json.loads(sys.argv[1])))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
