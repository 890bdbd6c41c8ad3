"""FSDP2 on two gloo processes: it trains as DDP does, and its checkpoints are those of all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.checkpoint.tree import tensors_of
from basetrainer.distributed.strategy import build_model_parallel, is_sharded
from basetrainer.engine.launch import launch
from basetrainer.engine.resume.state import collect
from basetrainer.errors import ConfigError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.utils.torch_tools import load_state_dict
from tests.tiny import TinyTrainer, tiny_data

CFG: dict[str, Any] = {
    "num_epochs": 1,
    "progress": False,
    "gpu_id": [0, 1],
    "resume": "auto",
    "accumulate_steps": 2,
    "clip_grad_norm": 0.5,
}
IGNORED = -100


class Net(nn.Sequential):
    """Two blocks that are gathered one after the other."""

    def __init__(self) -> None:
        first = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5))
        super().__init__(first, nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))


class Masked(TinyTrainer):
    """Half of its labels count for nothing: in one step all of those of rank 1."""

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        torch.manual_seed(5)
        return self.build_model_parallel(Net().to(torch.float64), cfg["gpu_id"])

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.AdamW(self.model.parameters(), lr=0.05)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        saving = ModelCheckpoint(self.model, self.optimizer, Path(cfg["work_dir"], "model"), 9)
        return [LossesRecorder(), AccuracyRecorder(), saving]

    def run_step(self, inputs: Any) -> Any:
        points, labels = inputs
        if self.model.training:
            is_masked = self.position.step == 1 and self.context.rank == 1
            labels = torch.where(points[:, 0].abs() < (99 if is_masked else 0.4), IGNORED, labels)
        self.num_counted = int((labels != IGNORED).sum())
        outputs = self.model(points)
        return outputs, nn.functional.cross_entropy(outputs, labels)

    def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> float:
        return self.num_counted


def digest(tree: Any) -> str:
    found = hashlib.sha256()
    for place, tensor in tensors_of({key: tree[key] for key in ("model", "optimizer")}):
        found.update(place.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def train(strategy: str, folder: str, num_epochs: int) -> dict[str, Any]:
    cfg = {**CFG, "strategy": strategy, "work_dir": folder, "num_epochs": num_epochs}
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    data = tiny_data(26, torch.float64)
    trainer = Masked(cfg, batch_size=4 // world, num_samples=26, dtype=torch.float64, data=data)
    assert is_sharded(trainer.model) == (strategy == "fsdp2" and world > 1)
    # Three test batches: one rank has two of them, the other one.
    trainer.test_loader = trainer.build_dataloader(
        tiny_data(6, torch.float64), 2, 0, shuffle=False, phase="test"
    )
    before = trainer.test()["loss"]  # before the first step
    logs = trainer.run()
    predicted = torch.cat(list(trainer.predict(trainer.test_loader)))
    tree = collect(trainer, logs)
    if not tree:
        return {}
    return {
        "digest": digest(tree),
        "state": tree["model"],
        "moments": tree["optimizer"]["state"],
        "update": trainer.position.update,
        "logs": {phase: dict(logs[phase]) for phase in logs if phase != "lr"},
        "before": before,
        "predicted": predicted,
    }


def each(*jobs: tuple[str, str, int]) -> list[dict[str, Any]]:
    return [train(*job) for job in jobs]


def close(mine: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert list(mine) == list(others)
    for name, value in mine.items():
        torch.testing.assert_close(value, others[name], atol=1e-10, rtol=0.0)


@pytest.mark.distributed
def test_it_trains_as_ddp_does_and_moves_between_numbers_of_processes():
    jobs = ("ddp", "ddp", 1), ("fsdp2", "sharded", 1), ("fsdp2", "sharded", 1)
    replicated, sharded, loaded = launch(each, 2, args=jobs, start_method="fork")
    close(replicated["state"], sharded["state"])
    for number, moments in replicated["moments"].items():
        close(moments, sharded["moments"][number])
    assert sharded["update"] == replicated["update"] == 4
    assert sharded["before"] == pytest.approx(replicated["before"], abs=1e-10)
    for phase in ("train", "test"):
        assert sharded["logs"][phase] == pytest.approx(replicated["logs"][phase], abs=1e-6)
    torch.testing.assert_close(sharded["predicted"], replicated["predicted"], atol=1e-10, rtol=0)
    # 2 to 2; 2 to 1, without a group; and what 1 went on with, to 2.
    assert loaded["digest"] == sharded["digest"]
    assert train("auto", "sharded", 1)["digest"] == sharded["digest"]
    alone = train("auto", "sharded", 2)
    assert alone["update"] == 8
    (again,) = launch(each, 2, args=(("fsdp2", "sharded", 2),), start_method="fork")
    assert again["digest"] == alone["digest"]
    # The files of weights are those of a plain model.
    (file,) = Path("sharded/model").glob("latest_model*")
    close(load_state_dict(file), again["state"])


def refuse() -> list[str]:
    said = []
    for more in ({"ema_decay": 0.9}, {"several": True}):
        cfg = {**CFG, "strategy": "fsdp2", "work_dir": "refused", "resume": "never", **more}
        trainer: Any = Masked(cfg, batch_size=2, dtype=torch.float64, tests=False)
        if "several" in more:
            trainer.optimizer = [trainer.optimizer]
            trainer.train_step = lambda inputs, steps=trainer: steps.updater_states()
        with pytest.raises(ConfigError) as caught:
            trainer.run()
        said.append(str(caught.value))
    with pytest.raises(ConfigError) as caught:
        build_model_parallel(nn.Linear(2, 2), strategy="fsdp2", reshard_after_forward=2)
    said.append(str(caught.value))
    # What DDP is given goes through to it.
    options: dict[str, Any] = {
        "static_graph": True,
        "gradient_as_bucket_view": True,
        "bucket_cap_mb": 3,
    }
    model: Any = build_model_parallel(nn.Linear(2, 2), sync_batchnorm=True, **options)
    assert model.static_graph
    assert model.gradient_as_bucket_view
    assert model.bucket_bytes_cap == 3 << 20
    return said


@pytest.mark.distributed
def test_what_does_not_go_with_it_is_refused_and_ddp_gets_its_options():
    said = launch(refuse, 2, start_method="fork")
    for message, part in zip(said, ("ema_decay", "one optimizer", "reshard_after"), strict=True):
        assert part in message
