"""Rounds: each loop once a round, each in a process of its own, and what they found kept as JSON."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.overhead.loops import LOOPS

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds after which a process is given up."""

ENVIRONMENT = {
    # glibc keeps freed memory: page faults are the noise of a step with large tensors.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 26),
    # All on the CPU, whatever a library would choose, and nothing asked of a server.
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TERM": "xterm",
}


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        loops: Of :data:`~benchmarks.overhead.loops.LOOPS`.
        cases: The number of steps of each case.
        levels: Those that a loop cannot do are left out for it.
        turns: Trainings of each loop in one process.
        rounds: Processes of each loop and case.
        peers: The folder of the environments.
        folder: Where the results are kept.
    """

    loops: Sequence[str]
    cases: dict[str, int]
    levels: Sequence[str]
    turns: int
    rounds: int
    peers: Path
    folder: Path

    def settings(self, loop: str, case: str) -> dict[str, Any]:
        """Return what one process is told."""
        return {
            "loop": loop,
            "case": case,
            "levels": [level for level in self.levels if level in LOOPS[loop].levels],
            "steps": self.cases[case],
            "turns": self.turns,
        }


def run(plan: Plan) -> Iterator[dict[str, Any]]:
    """Measure what is not in the folder yet, and yield each result as it comes."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    done: dict[tuple[str, str], int] = {}
    for one in kept(plan):
        key = (one["settings"]["case"], one["settings"]["loop"])
        done[key] = done.get(key, 0) + all("error" not in it for it in one["found"].values())
    for number in range(plan.rounds):
        for case in plan.cases:
            todo = [loop for loop in plan.loops if done.get((case, loop), 0) <= number]
            for loop in random.sample(todo, len(todo)):  # anew each round
                settings = plan.settings(loop, case)
                if settings["levels"]:
                    result = {"settings": settings, "round": number, **_attempt(plan, settings)}
                    path = plan.folder / f"{case}-{loop}-{time.time_ns()}.json"
                    path.write_text(json.dumps(result))
                    yield result


def kept(plan: Plan) -> list[dict[str, Any]]:
    """Return the results in the folder that belong to a plan; those of others are left alone.

    So files of one run may be copied to those of another one, and a run that was cut short goes on.
    """
    found = [json.loads(path.read_text()) for path in sorted(plan.folder.glob("*.json"))]
    return [
        one
        for one in found
        if (case := one["settings"]["case"]) in plan.cases
        and (loop := one["settings"]["loop"]) in plan.loops
        and one["settings"] == plan.settings(loop, case)
    ]


def _attempt(plan: Plan, settings: dict[str, Any]) -> dict[str, Any]:
    """Run one process; whatever goes wrong with it becomes the error of its levels."""
    loop = LOOPS[settings["loop"]]
    if not loop.is_there(plan.peers):
        return _failed(settings, f"{loop.python(plan.peers)} is not there")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "result.json")
        command = [str(loop.python(plan.peers)), "-m", "benchmarks.overhead.measure"]
        said = _on_terminal([*command, json.dumps(settings), str(path)])
        if not path.exists():
            return _failed(settings, said)
        return {"found": json.loads(path.read_text())}


def _failed(settings: dict[str, Any], error: str) -> dict[str, Any]:
    return {"found": {level: {"error": error} for level in settings["levels"]}}


def _on_terminal(command: list[str]) -> str:
    """Run a command whose bars are really drawn; return the last line that it wrote."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    tail = bytearray()
    reader = threading.Thread(target=_drain, args=(ours, tail), daemon=True)
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=its,
        )
    finally:
        os.close(its)
    reader.start()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"given up after {PATIENCE:.0f} s"
    finally:
        reader.join(5.0)
        os.close(ours)
    lines = tail.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _drain(terminal: int, tail: bytearray) -> None:
    """Read what a terminal is told until its other side is closed, and keep the end."""
    with contextlib.suppress(OSError):  # EIO: closed
        while data := os.read(terminal, 65536):
            tail += data
            del tail[:-4000]
