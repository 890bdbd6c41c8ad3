"""The variables of srun, read as those of torchrun."""

from __future__ import annotations

import pytest

from basetrainer.engine.processes.slurm import first_host, slurm_group

TASK = {
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "4,3",
    "SLURM_STEP_NODELIST": "gpu[017,020]",
}


def test_a_task_of_several_is_a_rank():
    found = slurm_group(TASK)
    port = found.pop("MASTER_PORT")
    assert 20000 <= int(port) < 30000
    assert found == {
        "RANK": "5",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "7",
        "LOCAL_WORLD_SIZE": "3",
        "MASTER_ADDR": "gpu017",
    }
    assert slurm_group({**TASK, "SLURM_STEP_ID": "1"})["MASTER_PORT"] != port
    even = {**TASK, "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}
    assert slurm_group(even)["LOCAL_WORLD_SIZE"] == "4"


def test_a_batch_script_and_a_single_task_are_none():
    assert slurm_group({}) == {}
    assert slurm_group({**TASK, "SLURM_STEP_NUM_TASKS": "1"}) == {}
    batch = {name: value for name, value in TASK.items() if "STEP" not in name}
    assert slurm_group(batch) == {}


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("gpu[003-007,12],login", "gpu003"),
        ("rack[1-2]-gpu,x", "rack1-gpu"),
    ],
)
def test_the_first_host_of_a_list(nodes, host):
    assert first_host(nodes) == host
