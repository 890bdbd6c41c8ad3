"""WeightFiles: no file of a run shares its bytes with another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.weights.weight_files import WeightFiles
from basetrainer.engine.preflight.dry_run import dry_run
from basetrainer.engine.preflight.estimate import Estimate
from tests.tiny import TinyTrainer

CFG = {"progress": False, "work_dir": "run", "resume": "auto", "num_epochs": 2}


class Trainer(TinyTrainer):
    """Saves all there is to save."""

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return [Rising(), ModelCheckpoint(indicator="Acc", model_nums=3)]


class Rising(Callback):
    def on_test_end(self, logs: Any = None) -> None:
        assert self.engine is not None
        logs["test"] = {"Acc": float(self.engine.epoch)}


def contents(folder: str = "run") -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix in (".pth", ".pt")
    }


@pytest.mark.parametrize("background", [False, True])
def test_whoever_damages_one_file_of_the_weights_damages_no_other_file_of_the_run(background):
    cfg = {**CFG, "async_save": background}
    Trainer(cfg).run()
    whole = contents()
    names = [path.name for path in whole if path.parent.name == "model"]
    assert names == [
        "best_model_001_1.0000.pth",
        "latest_model_001_1.0000.pth",
        "model_000_0.0000.pth",
        "model_001_1.0000.pth",
        "model_optimizer.pth",
    ]
    shutil.copytree("run", "before")
    for name in names:
        path = Path("run/model", name)
        with path.open("r+b") as file:
            file.truncate(10)
        after = contents()
        assert [one for one in whole if after[one] != whole[one]] == [path]
        path.write_bytes(whole[path])
    for path in whole:
        if path.suffix == ".pth":
            path.write_bytes(b"")
    resumed = Trainer({**cfg, "num_epochs": 3})
    resumed.run()
    assert resumed.position.epoch == 3
    assert len(torch.load("run/model/model_optimizer.pth", weights_only=True)["model"]) == 2


def test_several_files_of_one_state_are_equal_and_apart(tmp_path):
    files, state = WeightFiles(tmp_path), {"weight": torch.arange(1000.0)}
    first = files.write("model", 3, 0.5, state)
    second = files.replace("latest_model", 3, 0.5, state)
    files.forget()
    third = files.replace("best_model", 3, 0.5, state)
    assert len({path.stat().st_ino for path in (first, second, third)}) == 3
    assert len({path.read_bytes()[-1000:] for path in (first, second)}) == 1
    for path in (first, second, third):
        assert torch.equal(torch.load(path, weights_only=True)["weight"], state["weight"])


@pytest.mark.parametrize(
    "options", [{"start_save": 0}, {"start_save": 2}, {"model_nums": 1}, {"model_nums": 4}, {}]
)
def test_the_disk_that_a_dry_run_tells_is_what_the_run_takes(options):
    class Saving(TinyTrainer):
        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            layers = [torch.nn.Linear(3, 20_000), torch.nn.Linear(20_000, 3)]
            return self.build_model_parallel(torch.nn.Sequential(*layers))

        def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
            return [Rising(), ModelCheckpoint(indicator="Acc", **options)]

    cfg = {**CFG, "num_epochs": 5}
    found = dry_run(Saving, cfg).estimate
    assert isinstance(found, Estimate)
    Saving(cfg).run()
    sizes = [path.stat().st_size for path in Path("run").rglob("*") if path.is_file()]
    # The best may be none of the last; the next one and its copy come while the old ones are there.
    assert sum(sizes) <= found.disk <= sum(sizes) + 3.1 * max(sizes)
