"""launch() and two gloo processes, through the real thing."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.distributed.context import DistContext
from basetrainer.engine import comm
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.utils.file_utils import get_time
from scenarios import split_grid
from tests.engine.test_step import Gan
from tests.tiny import TinyTrainer, tiny_data, weights

CFG = {"num_epochs": 2, "progress": False, "gpu_id": [0, 1]}


class Told(Callback):
    """Writes down what this rank sees."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[list[float]] = []
        self.tested = 0

    def on_train_summary(self, inputs, outputs, losses, epoch, step, logs=None):
        self.samples.append(inputs[0][:, 0].tolist())

    def on_test_summary(self, inputs, outputs, losses, epoch, batch, logs=None):
        self.tested += len(inputs[0])


class Normed(TinyTrainer):
    """Has buffers, and leaves one rank without test batches."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        torch.manual_seed(5)
        return self.build_model_parallel(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), [0, 1])


def train(folder: str) -> dict[str, Any]:
    torch.manual_seed(5)
    told = Told()
    trainer = TinyTrainer(CFG, [told, LossesRecorder(), AccuracyRecorder()], batch_size=2, lr=0.05)
    logs = trainer.run()
    outputs = torch.cat(list(trainer.predict(trainer.test_loader)))
    mine = {
        "rank": trainer.context.rank,
        "samples": told.samples,
        "tested": told.tested,
        "train": dict(logs["train"]),
        "test": dict(logs["test"]),
        "weights": weights(trainer).tolist(),
        "module": type(trainer.model.module).__name__,
        "predicted": outputs.tolist(),
        "time": get_time(),
    }
    Path(folder, f"rank{trainer.context.rank}.json").write_text(json.dumps(mine))
    norm = Normed({**CFG, "num_epochs": 1}, [LossesRecorder()], num_samples=4, batch_size=2)
    norm.test_loader = norm.build_dataloader(tiny_data(2), 2, 0, shuffle=False, phase="test")
    return {"logs": logs, "threads": torch.get_num_threads(), "norm": norm.run()["test"]}


@pytest.mark.distributed
def test_two_processes_share_the_data_agree_on_the_weights_and_equal_one_process(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # else it decides the threads
    result = launch(train, 2, args=(str(tmp_path),))
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    # Shares: disjoint, together everything, anew each epoch.
    for epoch in (0, 1):
        shares = [
            [point for batch in one["samples"][3 * epoch : 3 * epoch + 3] for point in batch]
            for one in (first, second)
        ]
        assert sorted(shares[0] + shares[1]) == sorted(tiny_data().tensors[0][:, 0].tolist())
    assert first["samples"][:3] != first["samples"][3:]
    # Replicas and figures are alike on both, and those of one process with the global batch.
    assert first["weights"] == second["weights"]
    assert first["test"] == second["test"]
    assert first["train"] == second["train"]
    assert first["tested"] + second["tested"] == 2 * 12
    torch.manual_seed(5)
    alone = TinyTrainer(
        {**CFG, "gpu_id": [0]}, [LossesRecorder(), AccuracyRecorder()], batch_size=4, lr=0.05
    )
    logs = alone.run()
    assert weights(alone).tolist() == pytest.approx(first["weights"], abs=1e-5)
    assert logs["test"]["loss"] == pytest.approx(first["test"]["loss"], abs=1e-5)
    assert logs["test"]["Acc"] == first["test"]["Acc"]
    # What launch returns and sets.
    assert result["logs"]["test"] == first["test"]
    assert result["threads"] == max(1, (os.cpu_count() or 1) // 2)
    assert first["time"] == second["time"]
    # The outputs of all samples, in their order: no two of them are near each other.
    expected = alone.model(tiny_data().tensors[0]).tolist()
    assert min(map(math.dist, *zip(*itertools.combinations(expected, 2), strict=True))) > 0.01
    for row, *others in zip(expected, first["predicted"], second["predicted"], strict=True):
        assert others == [pytest.approx(row, abs=1e-5)] * 2
    assert first["module"] == "Linear"
    assert result["norm"]["loss"] > 0  # rank 1 had no test batch, and nothing hung


class Uneven(TinyTrainer):
    """Accumulates unlike batches on two ranks, and has a weight outside the wrapped model."""

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        points, labels = tiny_data(8, torch.float64).tensors
        if self.parts["world"] == 1:
            return [(points, labels)]
        sizes = ([3, 1], [2, 2])[self.context.rank]
        begin = 4 * self.context.rank
        mine = zip(
            points[begin:].split([*sizes, 4 - begin]),
            labels[begin:].split([*sizes, 4 - begin]),
            strict=True,
        )
        return list(mine)[:2]

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        return lambda outputs, labels: nn.functional.cross_entropy(self.scale * outputs, labels)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD([*self.model.parameters(), self.scale], lr=0.5)


def train_uneven(world: int) -> list[float]:
    torch.manual_seed(5)
    cfg = {**CFG, "num_epochs": 1, "accumulate_steps": 2 if world > 1 else 1}
    trainer = Uneven(cfg, dtype=torch.float64, tests=False, world=world)
    trainer.run()
    assert trainer.position.update == 1
    return [*weights(trainer).tolist(), trainer.scale.item()]


@pytest.mark.distributed
def test_uneven_micro_batches_on_two_ranks_equal_the_big_batch_to_1e_10():
    found = launch(train_uneven, 2, args=(2,), start_method="fork")
    assert found == pytest.approx(train_uneven(1), abs=1e-10)


# The whole grid is benchmarks/split_grid.py.
@pytest.mark.distributed
@pytest.mark.parametrize(("world", "tails"), [(2, [0, 1, 7]), (4, [1, 3])])
def test_every_split_with_its_tails_and_masks_makes_the_same_updates(world, tails):
    runs, largest, same = split_grid.compare(world, tails)
    assert largest < split_grid.WITHIN
    assert same == runs == 2 * len(tails)


def add_up(names: str) -> float:
    return float(sum(comm.all_gather(len(names))))


@pytest.mark.distributed
def test_two_launches_at_once_on_one_port_do_not_meet():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    pids = []
    for name in ("a", "bc"):
        pid = os.fork()
        if not pid:
            found = launch(add_up, 2, dist_url=url, args=(name,), start_method="fork")
            os._exit(int(found))
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [2, 4]


def train_gan(accumulate: int) -> list[Any]:
    torch.manual_seed(3)
    trainer = Gan({**CFG, "num_epochs": 1, "accumulate_steps": accumulate}, tests=False)
    trainer.noises = iter(lambda: torch.randn(2, 2), None)
    trainer.train_loader = [(torch.randn(2, 3), 0) for _ in range(4)]
    trainer.run()
    return [trainer.position.update, *comm.all_gather(weights(trainer).tolist())]


@pytest.mark.distributed
def test_several_optimizers_keep_the_replicas_alike():
    updates, first, second = launch(train_gan, 2, args=(2,), start_method="fork")
    assert updates == 2
    assert first == second


class Lone(TinyTrainer):
    """Its one optimizer comes in a dict."""

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return {"only": super().build_optimizer(cfg)}

    def train_step(self, inputs: Any) -> Any:
        with self.forward_context():
            outputs, loss = self.run_step(inputs)
        self.update(loss, optimizer=self.optimizer["only"])
        return outputs, loss


def train_lone() -> list[Any]:
    trainer = Lone({**CFG, "num_epochs": 1}, tests=False, batch_size=2)
    trainer.run()
    return comm.all_gather(weights(trainer).tolist())


@pytest.mark.distributed
def test_one_optimizer_in_a_dict_keeps_the_replicas_alike():
    first, second = launch(train_lone, 2, start_method="fork")
    assert first == second


def talk() -> dict[str, Any]:
    rank = comm.get_rank()
    if rank == 1:
        time.sleep(0.2)
    comm.synchronize()
    context = DistContext.current()
    return {
        "all": comm.all_gather(rank),
        "gathered": comm.gather({"rank": rank}),
        "seed": len(set(comm.all_gather(comm.shared_random_seed()))),
        "mean": comm.reduce_dict({"b": torch.tensor(1.0 + rank), "a": torch.tensor(2.0)}),
        "sum": comm.reduce_dict({"b": torch.tensor(1.0 + rank)}, average=False),
        "broadcast": context.broadcast("mine" if rank == 0 else "other"),
        "local": (comm.get_local_rank(), comm.get_local_size(), comm.get_world_size()),
        "stop": agree_to_stop(),
    }


def agree_to_stop() -> list[Any]:
    """Rank 1 alone asks for the end; both must end at the same step."""

    class Stopper(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if comm.get_rank() == 1 and batch == 1 and self.engine is not None:
                self.engine.stop("rank 1 is tired")

    trainer = TinyTrainer(CFG, [Stopper()], batch_size=1, tests=False)
    trainer.run()
    return comm.all_gather((trainer.position.step, trainer.stop_reason))


@pytest.mark.distributed
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_ranks_talk_under_every_start_method(start_method):
    result = launch(talk, 2, start_method=start_method)  # spawn: the tests above
    assert result["all"] == [0, 1]
    assert result["gathered"] == [{"rank": 0}, {"rank": 1}]
    assert result["seed"] == 1
    assert result["mean"] == {"a": 2.0, "b": 1.5}
    assert result["sum"] == {"b": 3.0}
    assert result["broadcast"] == "mine"
    assert result["local"] == (0, 2, 2)
    assert result["stop"] == [(3, "rank 1 is tired")] * 2


def fail(kind: str) -> None:
    if comm.get_rank() == 1:
        if kind == "config":
            raise ConfigError("lr: 'fast' is no number.")
        raise RuntimeError("mine")
    comm.synchronize()


@pytest.mark.distributed
@pytest.mark.parametrize(("kind", "code"), [("config", 2), ("other", 1)])
def test_a_failing_rank_ends_all_with_its_message(kind, code, capfd):
    with pytest.raises(SystemExit) as caught:
        launch(fail, 2, args=(kind,), start_method="fork")
    assert caught.value.code == code
    last = capfd.readouterr().err.strip().splitlines()
    if kind == "config":
        assert last[-1] == "error: lr: 'fast' is no number."
    else:
        assert last[-1] == "RuntimeError: mine"
        assert "error: rank 1 failed:" in last


@pytest.mark.distributed
def test_the_signal_handlers_are_those_of_before(capfd):
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = [signal.getsignal(number) for number in numbers]
    launch(talk, 2, start_method="fork")
    assert [signal.getsignal(number) for number in numbers] == before
    with pytest.raises(SystemExit):
        launch(fail, 2, args=("config",), start_method="fork")
    assert [signal.getsignal(number) for number in numbers] == before


def vanish() -> None:
    if comm.get_rank() == 1:
        os.kill(os.getpid(), 9)
    comm.synchronize()


@pytest.mark.distributed
def test_a_killed_rank_is_named(capfd):
    with pytest.raises(SystemExit) as caught:
        launch(vanish, 2, start_method="fork")
    assert caught.value.code == 1
    assert "Rank 1 ended with signal 9" in capfd.readouterr().err


def report_port() -> str:
    return os.environ["MASTER_PORT"]


@pytest.mark.distributed
def test_a_port_in_use_does_not_matter_on_one_machine():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        found = launch(report_port, 2, dist_url=f"tcp://127.0.0.1:{port}", start_method="fork")
    assert int(found) not in (0, port)


def add(a: int, b: int) -> int:
    return a + b


def test_one_process_runs_here_and_returns_its_result(caplog):
    with caplog.at_level("INFO", logger="basetrainer"):
        assert launch(add, 1, args=(1, 2)) == 3
    assert "one process" in caplog.text
    assert launch(add, 4, distributed=False, args=(1, 2)) == 3


def test_each_launch_has_a_start_time_of_its_own(monkeypatch):
    monkeypatch.delenv("BASETRAINER_START_TIME")
    first = launch(get_time, 1)
    time.sleep(0.01)
    assert launch(get_time, 1) != first
    assert "BASETRAINER_START_TIME" not in os.environ


def raise_config() -> None:
    raise ConfigError("num_epochs: 0")


def test_an_error_of_ours_becomes_one_message_and_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        launch(raise_config, 1)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: num_epochs: 0\n"


def test_in_a_notebook_it_is_an_exception(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(ConfigError):
        launch(raise_config, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"main_func": lambda: None}, "top level of a file"),
        ({"dist_url": "nowhere"}, "tcp://127.0.0.1:28661"),
        ({"dist_url": "tcp://here:port"}, "'tcp://here:port' must look like"),
        ({"num_machines": 2}, "need an address"),
        ({"machine_rank": 1}, "machine_rank: 1"),
    ],
)
def test_what_cannot_start_is_refused_before_anything_does(options, message, capsys):
    arguments = {"main_func": add, "num_gpus_per_machine": 2, **options}
    with pytest.raises(SystemExit) as caught:
        launch(**arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
