"""What it takes to begin: imports, memory, dependencies, and the time until something is learnt.

    python -m benchmarks.startup

Imports are those of the engine, callbacks, recorders and schedules, over ``import torch``; each
figure is the median of fresh processes, in CPU time, since the machine may be shared. The package's
bytecode is there, as pip leaves it. The time to 98 % is that of the wall clock, from the start of
``example.py`` to the end of the first epoch that scores so much on the digits. The size of the
wheel is told by :mod:`benchmarks.wheel`.
"""

from __future__ import annotations

import compileall
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 15
GOAL = 98.0
MODULES = (
    "basetrainer.engine.trainer",
    "basetrainer.engine.launch",
    "basetrainer.callbacks.log_history",
    "basetrainer.callbacks.model_checkpoint",
    "basetrainer.callbacks.losses_recorder",
    "basetrainer.callbacks.multi_losses_recorder",
    "basetrainer.metric.accuracy_recorder",
    "basetrainer.scheduler.build_scheduler",
)
PROGRAM = """
import json, resource, sys, time
import torch
held = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
modules, memory, begin = len(sys.modules), held(), time.process_time()
{imports}
seconds = time.process_time() - begin
print(json.dumps([1e3 * seconds, held() - memory, len(sys.modules) - modules]))
"""


def added() -> list[float]:
    """Return the CPU milliseconds, MiB and modules that the imports add, in a fresh process."""
    program = PROGRAM.format(imports="\n".join(f"import {name}" for name in MODULES))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return [float(one) for one in json.loads(done.stdout)]


def dependencies(name: str, found: set[str] | None = None) -> set[str]:
    """Return the distributions that a distribution needs, those of its dependencies included."""
    found = set() if found is None else found
    for line in metadata.requires(name) or ():
        needed = re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("_", "-")
        if "extra ==" in line or needed in found:
            continue
        try:
            metadata.version(needed)
        except metadata.PackageNotFoundError:
            continue  # of another system
        found.add(needed)
        dependencies(needed, found)
    return found


def megabytes(names: set[str]) -> float:
    """Return what the files of distributions take."""
    files = (file for name in names for file in metadata.files(name) or ())
    paths = {Path(str(file.locate())) for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def seconds_to_goal() -> float:
    """Return how long example.py takes to score :data:`GOAL` percent on the digits."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.time()
        command = [sys.executable, str(ROOT / "example.py")]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as program:
            for line in program.stderr or ():
                found = re.search(r"\btest .*?Accuracy (\d+\.\d+)", line)
                if found and float(found[1]) >= GOAL:
                    program.kill()
                    return time.time() - begin
    raise SystemExit(f"example.py did not reach {GOAL} %")


def main() -> None:
    """Print a table."""
    compileall.compile_dir(ROOT / "basetrainer", quiet=1)
    rows = list(zip(*(added() for _ in range(ROUNDS)), strict=True))
    low, middle, high = statistics.quantiles(rows[0], n=4)
    beside = dependencies("basetrainer") - dependencies("torch") - {"torch", "torchvision"}
    goal = statistics.median(seconds_to_goal() for _ in range(3))
    print("| what | figure |\n|---|---|")
    print(f"| imports over torch, CPU | {middle:.0f} ms (quartiles {low:.0f} to {high:.0f}) |")
    print(f"| memory of the imports | {statistics.median(rows[1]):.0f} MiB |")
    print(f"| modules of the imports | {statistics.median(rows[2]):.0f} |")
    names = ", ".join(sorted(beside))
    print(f"| distributions beside torch's and torchvision | {len(beside)}: {names} |")
    print(f"| their files | {megabytes(beside):.0f} MB |")
    print(f"| start of `example.py` to {GOAL:.0f} % on the digits | {goal:.0f} s |")


if __name__ == "__main__":
    main()
