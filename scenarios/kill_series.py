"""Kill a training at random moments until it is through, and compare it with an unharmed one."""

from __future__ import annotations

import csv
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basetrainer.checkpoint.run_folder import CHECKPOINTS, MANIFEST, checkpoint_paths
from scenarios import beacon, killable
from scenarios.forked import PREEMPTED, fork

PER_RUN = 8
"""Kills of one run; then it may come to its end."""


@dataclass
class Tally:
    """What came of a series of kills."""

    struck: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    unlike: int = 0
    bad_codes: int = 0
    redone: list[int] = field(default_factory=list)
    longest: float = 0.0

    @property
    def kills(self) -> int:
        """How many struck."""
        return self.struck.total()

    def row(self) -> list[Any]:
        """Return what stands under the header, but for the name."""
        redone = [sum(self.redone), max(self.redone, default=0)]
        phases = [self.struck[phase] for phase in beacon.PHASES]
        ends = [self.runs, self.unlike, self.bad_codes]
        return [self.kills, *phases, *ends, *redone, f"{self.longest:.2f}"]


def start(settings: dict[str, Any], log: Path) -> int:
    """Fork a process that trains, and return its number."""
    return fork(lambda: killable.main(settings), log)


def wait(pid: int, seconds: float, file: Path | None = None, phase: str = "") -> int | None:
    """Wait for the end of a process, for a time to pass, or for a phase to begin after it.

    Returns:
        The exit code; None if the process still runs.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end or (file is not None and beacon.seen(file)[0] != phase):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005 if file is not None else 0.002)
    return None


def finish(settings: dict[str, Any], log: Path) -> float:
    """Train to the end and return the seconds that took."""
    begin = time.monotonic()
    code = wait(start(settings, log), 300)
    if code != 0:
        raise SystemExit(f"exit code {code}:\n{log.read_text()}")
    return time.monotonic() - begin


def outcome(work_dir: Path) -> dict[str, Any]:
    """Return everything that must be equal."""
    final: dict[str, Any] = json.loads((work_dir / "final.json").read_text())
    with (work_dir / "log" / "results.csv").open(newline="") as file:
        final["csv"] = list(csv.reader(file))
    lines = (work_dir / "log" / "metrics.jsonl").read_text().splitlines()
    final["jsonl"] = [
        {key: value for key, value in json.loads(line).items() if key not in ("seconds", "time")}
        for line in lines
    ]
    final["models"] = sorted(path.name for path in (work_dir / "model").iterdir())
    return final


def saved_steps(work_dir: Path) -> int:
    """Return how many steps the newest checkpoint is good for."""
    for path in checkpoint_paths(work_dir / CHECKPOINTS):
        manifest = json.loads((path / MANIFEST).read_text())
        position, config = manifest["position"], manifest["config"]
        per_epoch = -(-config["num_samples"] // config["batch_size"])
        return int(position["epoch"] * per_epoch + position["step"])
    return 0


class Series:
    """Kills run after run, each in a folder of its own.

    Args:
        folder: An empty one.
        settings: Of the training.
        number: The signal.
        seed: Of the moments.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], number: int, seed: str) -> None:
        self.tally = Tally()
        self._folder = folder
        self._settings = settings
        self._number = number
        self._chance = random.Random(seed)
        self._log = folder / "log.txt"
        self._beacon = Path("/dev/shm" if Path("/dev/shm").is_dir() else folder, f"{os.getpid()}")
        reference = {**settings, "work_dir": str(folder / "reference")}
        self._seconds = finish(reference, self._log)
        self._expected = outcome(folder / "reference")

    def run(self, kills: int) -> Tally:
        """Kill until so many kills have struck."""
        tally = self.tally
        while tally.kills < kills:
            work_dir = self._folder / f"run{tally.runs}"
            mine = {**self._settings, "work_dir": str(work_dir), "beacon": str(self._beacon)}
            last = min(kills, tally.kills + PER_RUN)
            while tally.kills < last and self._strike(mine, work_dir):
                pass
            finish(mine, self._log)
            tally.runs += 1
            found = outcome(work_dir)
            tally.unlike += found != self._expected
            for key, value in self._expected.items():
                if found[key] != value:
                    sys.stderr.write(f"{work_dir}: {key} differs\n")
        self._beacon.unlink()
        return tally

    def _strike(self, settings: dict[str, Any], work_dir: Path) -> bool:
        """Start the run and kill it; return False if it came to its end before."""
        tally = self.tally
        self._beacon.unlink(missing_ok=True)
        born = time.monotonic()
        pid = start(settings, self._log)
        if tally.kills % 2:
            phase = beacon.PHASES[tally.kills // 2 % len(beacon.PHASES)]
            code = wait(pid, self._chance.uniform(0.0, self._seconds / 2), self._beacon, phase)
            time.sleep(self._chance.uniform(0.0, 0.004))
        else:
            code = wait(pid, self._chance.uniform(0.0, self._seconds))
        if code is not None:
            tally.bad_codes += code != 0
            self._seconds = min(self._seconds, time.monotonic() - born)
            return False
        tally.struck[beacon.seen(self._beacon)[0]] += 1
        begin = time.monotonic()
        os.kill(pid, self._number)
        code = wait(pid, 300)
        tally.longest = max(tally.longest, time.monotonic() - begin)
        steps = beacon.seen(self._beacon)[1]
        # A signal before run() listens, or after it stopped to, ends the process as usual.
        tally.bad_codes += code not in (PREEMPTED, -self._number, 0)
        if steps:
            tally.redone.append(max(0, steps - saved_steps(work_dir)))
        return True
