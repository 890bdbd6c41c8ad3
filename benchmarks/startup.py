"""What importing the engine, callbacks, recorders and schedules adds to ``import torch``.

    python -m benchmarks.startup

Each figure is the median of fresh processes, in CPU time, since the machine may be shared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 15
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
import time
import torch
begin = time.process_time()
{imports}
print(time.process_time() - begin)
"""


def added_seconds(modules: tuple[str, ...]) -> float:
    """Return the CPU seconds that importing ``modules`` adds to torch, in a fresh process."""
    program = PROGRAM.format(imports="\n".join(f"import {name}" for name in modules))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the median and quartiles."""
    samples = [1e3 * added_seconds(MODULES) for _ in range(ROUNDS)]
    low, middle, high = statistics.quantiles(samples, n=4)
    print(f"import adds {middle:.0f} ms of CPU time to torch (quartiles {low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
