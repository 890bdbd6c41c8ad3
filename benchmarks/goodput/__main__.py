"""Useful steps per hour of a training that is killed again and again, here and elsewhere.

    benchmarks/environments.sh                              # once: makes .peers/
    python -m benchmarks.goodput                            # all programs, about 20 minutes
    python -m benchmarks.goodput ours --epochs 60 --kill 120

Each program does the same work (a small net, random crops and flips, batches of 32, a checkpoint
every 50 steps, one thread) and is killed so many seconds after each start, until it is through.
All that this costs is in one figure: starting up, saving, steps done again, finding the place. The
peers resume as their manuals advise; see each program's first lines.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.goodput.work import STEPS, Journal

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "ours": "",
    "lightning_run": "lightning",
    "accelerate_run": "accelerate",
    "transformers_run": "transformers",
}
"""The folder, in that of the environments, of each program's."""

HEADER = (
    *("program", "kills", "unharmed, steps/h", "killed, steps/h", "share", "cold start, s"),
    *("start to go on, s", "saving, s", "steps redone", "failed starts", "same final weights"),
)


@dataclass
class Attempts:
    """What came of starting a program until it was through."""

    seconds: float = 0.0
    kills: int = 0
    failed: int = 0
    steps: int = 0
    saving: float = 0.0
    starts: list[float] = field(default_factory=list)


def attempt(command: list[str], journal: Path, limit: float | None, sums: Attempts) -> int | None:
    """Start a program once, kill it after so many seconds; return its code, None if killed."""
    journal.unlink(missing_ok=True)
    begin = time.time()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        sums.seconds += time.time() - begin
        if code:
            errors.seek(0)
            sys.stderr.write(errors.read().decode(errors="replace")[-1500:])
    if journal.exists():
        first, _, steps, _, saving = struct.unpack(Journal.FORM, journal.read_bytes())
        sums.steps += steps
        sums.saving += saving
        if first:
            sums.starts.append(first - begin)
    sums.kills += code is None
    sums.failed += bool(code)
    return code


def put_newest_away(folder: Path) -> None:
    """Do what a person does whose program cannot read its newest checkpoint."""
    found = [path for path in folder.iterdir() if path.name != "journal"]
    newest = max(found, key=lambda path: path.lstat().st_mtime)
    if newest.is_dir():
        shutil.rmtree(newest)
    else:
        newest.unlink()


def measure(program: str, python: Path, epochs: int, limit: float) -> str:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as name:
        sums, hashes = [], []
        for seconds in (None, limit):
            folder = Path(name, f"kill-{seconds}")
            folder.mkdir()
            journal = folder / "journal"
            module = f"benchmarks.goodput.{program}"
            command = [str(python), "-m", module, str(folder), str(epochs), str(journal)]
            found = Attempts()
            while (code := attempt(command, journal, seconds, found)) != 0:
                if found.failed > 10:
                    raise SystemExit(f"{program} does not come through")
                if code is not None:
                    put_newest_away(folder)
            sums.append(found)
            hashes.append((folder / "hash.txt").read_text())
    unharmed, killed = sums
    useful = epochs * STEPS
    rates = [3600 * useful / one.seconds for one in sums]
    later = killed.starts[1:] or killed.starts
    row = (
        program,
        killed.kills,
        *(f"{rate:,.0f}" for rate in rates),
        f"{100 * rates[1] / rates[0]:.0f} %",
        f"{unharmed.starts[0]:.1f}",
        f"{sum(later) / len(later):.1f}",
        f"{killed.saving:.1f}",
        killed.steps - useful,
        killed.failed,
        "yes" if hashes[0] == hashes[1] else "no",
    )
    return f"| {' | '.join(map(str, row))} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS), help=", ".join(PROGRAMS))
    parser.add_argument("--epochs", type=int, default=15, help="of 200 steps")
    parser.add_argument("--kill", type=float, default=30.0, help="seconds after each start")
    parser.add_argument("--peers", type=Path, default=ROOT / ".peers", help="the environments")
    args = parser.parse_args()
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    for program in args.programs:
        peer = PROGRAMS[program]
        python = args.peers / peer / "bin" / "python" if peer else Path(sys.executable)
        print(measure(program, python, args.epochs, args.kill), flush=True)


if __name__ == "__main__":
    main()
