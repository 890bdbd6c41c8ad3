"""prune_and_train: every stage a run of its own, in one call, in rounds, and in two processes."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from basetrainer.callbacks.ema import EMA
from basetrainer.callbacks.keep_zeros import KeepZeros
from basetrainer.callbacks.slim import Slim
from basetrainer.engine.launch import launch
from basetrainer.errors import ConfigError, MissingExtraError, Preempted, PruningError
from basetrainer.models.load_pruned import load_pruned
from basetrainer.models.structure import rebuilding, structure_of
from basetrainer.pruning.pipeline import SLIM_LAMBDA, prune_and_train
from tests.fixtures.pruning_nets import ResidualNet, needs
from tests.pruning.trainer import GratingTrainer, gratings, settings


class Seen(GratingTrainer):
    """Remembers every trainer that was made."""

    made: list[Seen] = []  # noqa: RUF012 # of the class, and emptied by each test

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.made.append(self)

    def callback(self, kind: type) -> Any:
        return next((one for one in self.callbacks if isinstance(one, kind)), None)


@pytest.fixture(autouse=True)
def no_trainer_yet() -> None:
    needs("torch_pruning")
    Seen.made = []


def best(folder: Path) -> Path:
    (file,) = (folder / "model").glob("best_model_*.pth")
    return file


def test_it_trains_prunes_and_trains_on_and_reports_each_stage():
    cfg = settings()
    logs = prune_and_train(Seen, cfg)
    assert cfg == settings()
    full, small = Seen.made
    assert logs["test"]["Acc"] > 90
    assert structure_of(full.model) == {}
    run = Path(full.cfg["work_dir"])
    assert Path(small.cfg["work_dir"]).parent == run
    assert (run / "log" / "results.csv").is_file()
    lines = (run / "pruning.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert [row[0] for row in rows] == ["stage", "---", "trained", "pruned", "trained on"]
    assert rows[0][1:] == ["parameters", "MACs", "latency", "loss", "Acc", "weights"]
    before, after, last = (float(row[5]) for row in rows[2:])
    assert after < before
    assert last > 90
    assert rows[3][1].endswith("(28%)")
    assert "load_pruned" in lines[-1]
    file = run / rows[4][6].strip("`")
    assert file == best(Path(small.cfg["work_dir"]))
    again = load_pruned(file, ResidualNet()).eval()
    images, labels = gratings(60, 2).tensors
    assert float((again(images).argmax(1) == labels).double().mean()) == pytest.approx(last / 100)
    events = list((run / "log").glob("events.*"))
    assert any(b"pruning/latency_in_ms" in one.read_bytes() for one in events)


def test_from_a_finished_run_it_prunes_at_once_in_as_many_rounds_as_asked():
    trainer = GratingTrainer(settings(use_prune=False))
    trainer.run()
    file = best(Path(trainer.cfg["work_dir"]))
    cfg = settings(work_dir="rounds", finetune=str(file), prune_rounds=2, prune_epochs=1)
    prune_and_train(Seen, cfg)
    assert [one.num_epochs for one in Seen.made] == [3, 1, 1]
    assert [one.model.stem[0].out_channels for one in Seen.made] == [16, 12, 9]
    text = (Path(Seen.made[0].cfg["work_dir"]) / "pruning.md").read_text()
    for stage in ("before", "pruned 1", "trained on 1", "pruned 2", "trained on 2"):
        assert f"| {stage} |" in text
    assert "in 2 rounds" in text
    assert not list(Path(Seen.made[0].cfg["model_dir"]).iterdir())  # the full one is not trained


def test_slim_pulls_at_the_scales_until_they_have_been_ranked():
    prune_and_train(Seen, settings(prune_mod="Slim", num_epochs=1, prune_rounds=2))
    found = [one.callback(Slim) for one in Seen.made]
    assert [one and one.slim_lambda for one in found] == [SLIM_LAMBDA, SLIM_LAMBDA, None]
    # The last weights, which the penalty has pulled at longest; ties of the best keep early ones.
    assert [Path(one.cfg["finetune"]).name for one in Seen.made[1:]] == ["last.pth"] * 2
    Seen.made = []
    prune_and_train(Seen, settings(prune_mod="Slim", num_epochs=1, slim_lambda=0.2))
    assert [one.callback(Slim) is None for one in Seen.made] == [False, True]
    assert Seen.made[0].callback(Slim).slim_lambda == 0.2


def test_level_keeps_its_zeros_while_training_on():
    prune_and_train(Seen, settings(prune_mod="Level", num_epochs=1, sparsity=0.75))
    _, sparse = Seen.made
    assert sparse.callback(KeepZeros) is not None
    weight = sparse.model.one[0].weight
    assert float((weight == 0).double().mean()) == pytest.approx(0.75, abs=1e-2)


def test_a_run_that_goes_on_has_the_same_weights_and_is_not_pruned_again(monkeypatch):
    prune_and_train(Seen, settings())
    cfg = dict(Seen.made[1].cfg)
    whole, half = GratingTrainer(cfg), GratingTrainer(cfg)
    whole.run()
    half.on_epoch_end = stop_after(half, 2)  # type: ignore[method-assign]
    half.run()
    saved = [half.model.state_dict(), half.optimizer.state_dict()]
    structure = structure_of(half.model)

    def pruned_again(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pruned again")

    monkeypatch.setattr("basetrainer.pruning.prune.prune_copy", pruned_again)
    with rebuilding(structure):
        rest = GratingTrainer(cfg)
    rest.model.load_state_dict(saved[0])
    rest.optimizer.load_state_dict(saved[1])
    rest.position.epoch, rest.position.update = half.position.epoch, half.position.update
    rest.run()
    for name, value in rest.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name


class Interrupted(Seen):
    """Is told to end in the second epoch of the second training."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if len(self.made) == 2 and epoch == 1:
            signal.raise_signal(signal.SIGTERM)


def test_a_call_that_was_ended_goes_on_in_its_stage_and_ends_with_the_same_bits():
    names = {"resume": "auto"}
    prune_and_train(Seen, settings(work_dir="whole", **names))
    whole = Seen.made[-1]
    Seen.made = []
    with pytest.raises(Preempted):
        prune_and_train(Interrupted, settings(work_dir="parts", **names))
    Seen.made = []
    prune_and_train(Seen, settings(work_dir="parts", **names))
    first, second = Seen.made
    assert first.cfg["work_dir"] == "parts/net"
    assert second.cfg["work_dir"] == "parts/net/pruned1"
    assert first.position.update == 18  # not trained again
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name
    tables = [figures_in(Path(one, "net", "pruning.md")) for one in ("whole", "parts")]
    assert tables[0] == tables[1]
    prune_and_train(Seen, settings(work_dir="parts", **names))
    assert Seen.made[-1].cfg["work_dir"] == "parts/net-2/pruned1"  # the other one is finished


def figures_in(file: Path) -> list[list[str]]:
    """The rows of a report but for the latencies, which are never alike."""
    rows = [line.split("|") for line in file.read_text().splitlines() if "|" in line]
    return [[*row[:4], *row[5:]] for row in rows]


def stop_after(trainer: GratingTrainer, epochs: int) -> Any:
    def on_epoch_end(epoch: int, logs: Any = None) -> None:
        if epoch + 1 == epochs:
            trainer.stop("enough")

    return on_epoch_end


@pytest.mark.parametrize("key", ["amp", "ema_decay", "channels_last", "accumulate_steps"])
def test_precision_averages_layout_and_accumulation_go_along(key):
    value = {"amp": "bf16", "ema_decay": 0.9, "channels_last": True, "accumulate_steps": 2}[key]
    logs = prune_and_train(Seen, settings(num_epochs=4, **{key: value}))
    assert logs["test"]["Acc"] > 60
    assert (Seen.made[1].callback(EMA) is not None) == (key == "ema_decay")


@pytest.mark.slow
def test_a_compiled_network_is_pruned_and_compiled_again():
    needs()
    logs = prune_and_train(Seen, settings(compile=True, prune_backend="nni"))
    assert logs["test"]["Acc"] > 90


def test_what_cannot_be_is_said_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(GratingTrainer, "run", lambda self: pytest.fail("trained"))
    with pytest.raises(ConfigError, match="sparsity"):
        prune_and_train(GratingTrainer, settings(sparsity=1.5))
    with pytest.raises(ConfigError, match="input_size"):
        prune_and_train(GratingTrainer, settings(input_size=None))
    with pytest.raises(PruningError, match="no layer to prune"):
        prune_and_train(GratingTrainer, settings(prune_exclude="*"))
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[prune\]'"):
        prune_and_train(GratingTrainer, settings())


def test_a_trainer_that_does_not_prune_is_told_so():
    class Forgetful(GratingTrainer):
        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            return super().build_model({**cfg, "use_prune": False}, **kwargs)

    with pytest.raises(ConfigError, match="prune_by_config"):
        prune_and_train(Forgetful, settings(num_epochs=1))


def prune_in_two(folder: str) -> list[Any]:
    trainers: list[GratingTrainer] = []

    class Own(GratingTrainer):
        def __init__(self, cfg: Any) -> None:
            super().__init__(cfg)
            # Ranks must get rank 0's network, not prune one that happens to be alike.
            trainers.append(self)

        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            made = super().build_model(cfg, **kwargs)
            torch.manual_seed(self.context.rank)
            return made

    logs = prune_and_train(
        Own, settings(work_dir=folder, gpu_id=[0, 1], num_epochs=4, prune_backend="nni")
    )
    model = trainers[-1].model.module
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    mine = digest.hexdigest(), structure_of(model), logs["test"]["Acc"]
    return trainers[-1].context.gather(mine)


@pytest.mark.distributed
def test_two_processes_prune_and_train_alike(tmp_path):
    needs("nni")
    first, second = launch(prune_in_two, 2, args=(str(tmp_path),), start_method="fork")
    assert first == second
    assert first[1]["layers"]["stem.0"]["attributes"] == {"out_channels": 8}
    assert first[2] > 80
    assert len(list(tmp_path.rglob("pruning.md"))) == 1


def fail_in_two() -> list[str]:
    try:
        prune_and_train(GratingTrainer, settings(gpu_id=[0, 1], prune_exclude="*"))
    except PruningError as error:
        from basetrainer.distributed.context import DistContext

        return DistContext.current().gather(str(error))
    return []


@pytest.mark.distributed
def test_what_rank_0_cannot_prune_fails_on_all():
    first, second = launch(fail_in_two, 2, start_method="fork")
    assert first == second
    assert "no layer to prune" in first
