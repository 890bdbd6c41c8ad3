"""Plain Python, launch(), torchrun and Slurm's variables start the same training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import basetrainer
from basetrainer.checkpoint.store import CheckpointStore
from basetrainer.checkpoint.tree import tensors_of
from scenarios import two_hosts
from tests.datasets.images import write_folder
from tests.fixtures.programs import TIMEOUT

pytestmark = [pytest.mark.slow, pytest.mark.distributed]

ROOT = Path(basetrainer.__file__).parents[1]
EXAMPLE = ["--num_epochs", "2", "--batch_size", "8", "--config_file", "config.yaml"]
CONFIG = """
train_data: [images/train]
test_data: [images/test]
net_type: mobilenet_v3_small
width_mult: 0.25
input_size: [16, 16]
pretrained: False

num_workers: 0
"""


@pytest.fixture
def images() -> None:
    write_folder(Path("images/train"), {"a": 16, "b": 16})
    write_folder(Path("images/test"), {"a": 6, "b": 6})
    Path("config.yaml").write_text(CONFIG)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def slurm_task(rank: int, port: int) -> dict[str, str]:
    return environment(
        SLURM_STEP_NUM_TASKS="2",
        SLURM_PROCID=str(rank),
        SLURM_LOCALID=str(rank),
        SLURM_STEP_NODELIST="localhost",
        SLURM_JOB_ID="7",
        MASTER_PORT=str(port),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tasks(command: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run a command as the two tasks of a job step."""
    port = free_port()
    started = [
        subprocess.Popen(command, env=slurm_task(rank, port), stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    done = []
    for process in started:
        _, said = process.communicate(timeout=TIMEOUT)
        done.append(subprocess.CompletedProcess(command, process.returncode, "", said))
    return done


def weights(folder: str) -> dict[str, Any]:
    (run,) = (path.parent for path in Path(folder).glob("*/checkpoints"))
    path, manifest = next(CheckpointStore(run / "checkpoints").good())
    assert manifest.position["epoch"] == 2
    tree = CheckpointStore(run / "checkpoints").load(path)
    found = {name: tree[name] for name in ("model", "optimizer")}
    return {place: tensor.tolist() for place, tensor in tensors_of(found)}


@pytest.mark.usefixtures("images")
def test_the_example_ends_with_the_same_bits_whatever_starts_it():
    program = [str(ROOT / "example.py"), *EXAMPLE, "--gpu_id"]
    pair = ["0", "1", "--distributed"]
    run = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    run += ["--rdzv-endpoint", "localhost:0"]
    for folder, command in {
        "alone": [*program, "0"],
        "launch": [*program, *pair],
        "torchrun": [*run, *program, *pair],
    }.items():
        subprocess.run(
            [sys.executable, *command, "--work_dir", folder],
            env=environment(),
            check=True,
            timeout=TIMEOUT,
            capture_output=True,
        )
    done = tasks([sys.executable, *program, *pair, "--work_dir", "slurm"])
    assert [one.returncode for one in done] == [0, 0], done
    launched = weights("launch")
    assert launched == weights("torchrun") == weights("slurm")
    assert list(weights("alone")) == list(launched)


def test_a_rank_that_vanishes_under_slurm_ends_all_tasks():
    settings = {"how": "exit", "where": "hook", "rank": 1, "work_dir": "run"}
    first, second = tasks([sys.executable, "-m", "scenarios.failing", json.dumps(settings)])
    assert (first.returncode, second.returncode) == (1, 0)
    assert "error: Rank 1 left early" in first.stderr


@pytest.mark.skipif(not two_hosts.is_possible(), reason="needs Linux, ip(8) and root")
def test_two_machines_end_together_whatever_happens_to_one():
    try:
        with two_hosts.two_hosts():
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr}")
    for how in (None, "raise", "pause"):
        folder = Path(str(how)).absolute()
        folder.mkdir()
        with two_hosts.two_hosts():
            row = two_hosts.train(folder, how)
        assert row[3] == "yes", row
        if how == "raise":
            assert row[4].count("rank 0 at epoch 1, step 3 failed") == 2  # on both screens
