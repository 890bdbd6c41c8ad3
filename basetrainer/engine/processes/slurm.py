"""Slurm: the variables of ``srun`` as those of torchrun, which the rest of the engine reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PORTS = range(20000, 30000)
_FIRST_HOST = re.compile(r"(?P<name>[^\[,]+)(?:\[(?P<number>\d+)[^\]]*\](?P<rest>[^,]*))?")
_TASKS = re.compile(r"(\d+)(?:\(x(\d+)\))?")


def slurm_group(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what torchrun would have set for this task of a job step of several; else nothing.

    Args:
        environment: With ``SLURM_PROCID``, ``SLURM_LOCALID`` and others, as ``srun`` sets them in
            each task. MASTER_ADDR and MASTER_PORT may be in it; otherwise they are the first
            machine of the step, and a port made of the numbers of job and step.
    """
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "")  # not there in a batch script itself
    if not tasks.isdigit() or int(tasks) < 2:
        return {}
    job = int(environment.get("SLURM_JOB_ID", "0"))
    step = int(environment.get("SLURM_STEP_ID", "0"))
    per_node = [
        int(count)
        for count, times in _TASKS.findall(environment.get("SLURM_STEP_TASKS_PER_NODE", tasks))
        for _ in range(int(times or 1))
    ]
    node = int(environment.get("SLURM_NODEID", "0"))
    return {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": tasks,
        "LOCAL_WORLD_SIZE": str(per_node[min(node, len(per_node) - 1)]),
        "MASTER_ADDR": first_host(environment.get("SLURM_STEP_NODELIST", "localhost")),
        "MASTER_PORT": str(_PORTS[(job * 31 + step) % len(_PORTS)]),
    }


def first_host(nodes: str) -> str:
    """Return the first machine of a list such as ``gpu[003-007,12],login``."""
    match = _FIRST_HOST.match(nodes)
    return "".join(part or "" for part in match.groups()) if match is not None else nodes
