"""TensorBoard: curves over the updates, settings, the model's graph, how a run ended."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.callbacks.history.event_board import Board
from basetrainer.callbacks.history.hparams import flat_settings
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.callbacks.events import accumulator, points
from tests.tiny import TinyTrainer, weights

CFG = {"num_epochs": 2, "progress": False, "log_freq": 2}


def recorders() -> list[Any]:
    return [LossesRecorder(), AccuracyRecorder(topk=(2,))]


class Losses(TinyTrainer):
    """Writes down the loss of each step."""

    def build(self, cfg: Any, **kwargs: Any) -> None:
        self.losses: list[float] = []
        super().build(cfg, **kwargs)

    def on_train_summary(self, inputs: Any, outputs: Any, losses: Any, *more: Any) -> None:
        self.losses.append(losses.item())
        super().on_train_summary(inputs, outputs, losses, *more)


def test_a_point_over_the_updates_tells_of_the_steps_since_the_last_one(tmp_path):
    trainer = Losses(
        CFG, [*recorders(), LogHistory(tmp_path, pictures=False)]
    )  # three steps an epoch
    trainer.run()
    found = points(tmp_path / "steps")
    assert set(found) == {f"train_{one}_step" for one in ("loss", "Acc", "Acc_top2")} | {"lr_step"}
    one = trainer.losses
    means = [(one[0] + one[1]) / 2, one[2], (one[3] + one[4]) / 2, one[5]]
    assert [update for update, _ in found["train_loss_step"]] == [2, 3, 5, 6]
    assert [value for _, value in found["train_loss_step"]] == pytest.approx(means)


def test_points_are_at_most_as_close_as_the_runs_log_points(tmp_path):
    cfg = {**CFG, "log_freq": 3}
    TinyTrainer(cfg, [*recorders(), LogHistory(tmp_path / "a", log_freq=1, pictures=False)]).run()
    assert [one for one, _ in points(tmp_path / "a" / "steps")["lr_step"]] == [3, 6]
    TinyTrainer(
        {**cfg, "log_freq": 0}, [*recorders(), LogHistory(tmp_path / "b", pictures=False)]
    ).run()
    assert not (tmp_path / "b" / "steps").exists()


def test_a_window_of_accumulation_is_one_point(tmp_path):
    cfg = {**CFG, "log_freq": 1, "accumulate_steps": 2}
    TinyTrainer(cfg, [*recorders(), LogHistory(tmp_path, pictures=False)]).run()
    assert [one for one, _ in points(tmp_path / "steps")["lr_step"]] == [1, 2, 3, 4]


def test_nothing_is_read_between_log_points(tmp_path):
    reads = []

    class Counted(AccuracyRecorder):
        def recent(self) -> Any:
            reads.append(self.engine.position.update)  # type: ignore[union-attr]
            return super().recent()

    TinyTrainer({**CFG, "log_freq": 3}, [Counted(), LogHistory(tmp_path, pictures=False)]).run()
    assert reads == [3, 6]


def test_losses_of_a_dict_have_tags_below_one_over_the_updates(tmp_path):
    class Multi(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs, {"box": loss, "cls": 2 * loss}

    Multi(CFG, [MultiLossesRecorder(), LogHistory(tmp_path, pictures=False)]).run()
    found = points(tmp_path / "steps")
    assert set(found) == {
        *("train_loss_step/box", "train_loss_step/cls", "train_loss_step/total_loss", "lr_step")
    }
    last = {name: found[f"train_loss_step/{name}"][-1][1] for name in ("box", "cls", "total_loss")}
    assert last["total_loss"] == pytest.approx(last["box"] + last["cls"])


def plugin(folder: Any, tag: str) -> Any:
    from tensorboard.plugins.hparams import metadata

    content = accumulator(folder).SummaryMetadata(tag).plugin_data.content
    return getattr(metadata, f"parse_{tag.rpartition('/')[2]}_plugin_data")(content)


def test_the_settings_are_on_the_page_of_hyperparameters(tmp_path):
    cfg = {**CFG, "lr": 0.1, "net": {"name": "tiny", "sizes": [3, 3]}, "work_dir": "w", "x": None}
    TinyTrainer(cfg, [*recorders(), LogHistory(tmp_path, pictures=False)]).run()
    found = plugin(tmp_path, "_hparams_/session_start_info").hparams
    assert found["lr"].number_value == 0.1
    assert found["progress"].WhichOneof("kind") == "bool_value"
    assert found["net.name"].string_value == "tiny"
    assert found["net.sizes"].string_value == "[3, 3]"
    assert not {"work_dir", "x"} & set(found)
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] == ["steps"]


def test_settings_that_are_no_numbers_become_text():
    assert flat_settings({"a": float("nan"), "b": object(), "c": (1, None)}) == {
        "a": "nan",
        "c": "[1, None]",
    }


@pytest.mark.parametrize("fails", [False, True])
def test_how_a_run_ended_is_told(fails, tmp_path):
    from tensorboard.plugins.hparams import api_pb2

    class Failing(TinyTrainer):
        def on_test_begin(self, logs: Any = None) -> None:
            if fails:
                raise ValueError("mine")

    trainer = Failing(CFG, [*recorders(), LogHistory(tmp_path, pictures=False)])
    if fails:
        with pytest.raises(ValueError, match="mine"):
            trainer.run()
    else:
        trainer.run()
    status = plugin(tmp_path, "_hparams_/session_end_info").status
    assert status == (api_pb2.STATUS_FAILURE if fails else api_pb2.STATUS_SUCCESS)


def test_the_best_figure_so_far_has_a_tag(tmp_path):
    callbacks = recorders()
    trainer = TinyTrainer({**CFG, "num_epochs": 4}, callbacks)
    saver = ModelCheckpoint(trainer.model, None, tmp_path / "m", 4, indicator="loss", mode="min")
    trainer.callbacks = [*callbacks, LogHistory(tmp_path, pictures=False), saver]
    trainer.run()
    found = points(tmp_path)
    losses = [value for _, value in found["test_loss_epoch"]]
    best = [(epoch, one) for epoch, one in enumerate(losses) if one == min(losses[: epoch + 1])]
    assert found["best_loss_epoch"] == best


def test_the_graph_of_a_model_is_written_on_request_and_changes_no_training(tmp_path, capsys):
    ends = []
    for graph in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
        trainer = TinyTrainer(
            CFG, [LogHistory(tmp_path / str(graph), graph=graph, pictures=False)], model=model
        )
        trainer.run()
        ends.append(weights(trainer))
    assert torch.equal(*ends)
    assert any("Linear" in node.name for node in accumulator(tmp_path / "True").Graph().node)
    assert not accumulator(tmp_path / "False").Tags()["graph"]
    assert capsys.readouterr().out == ""


def test_a_model_that_cannot_be_traced_is_one_warning(tmp_path, caplog, capsys):
    class Untraceable(nn.Linear):
        def forward(self, data: Any) -> Any:
            if torch._C._get_tracing_state():
                raise RuntimeError("I look\nat values")
            return super().forward(data)

    with caplog.at_level(logging.WARNING, logger="basetrainer"):
        TinyTrainer(
            CFG, [LogHistory(tmp_path, graph=True, pictures=False)], model=Untraceable(3, 3)
        ).run()
        TinyTrainer(
            CFG, [LogHistory(tmp_path / "none", graph=True, pictures=False)], tests=False
        ).run()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "no model graph for TensorBoard: it cannot be traced (I look)",
        "no model graph for TensorBoard: it needs a test batch",
    ]
    assert capsys.readouterr().out == ""


def test_a_disk_that_fills_up_ends_the_curves_and_not_the_run(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("basetrainer.callbacks.history.event_board._LEAST_ROOM", 1 << 80)
    trainer = TinyTrainer(CFG, [*recorders(), LogHistory(tmp_path, pictures=False)])
    with caplog.at_level(logging.WARNING, logger="basetrainer"):
        trainer.run()
    said = [one for one in caplog.messages if "no more curves" in one]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert trainer.position.epoch == 2


def test_metrics_may_have_any_name(tmp_path):
    board = Board(tmp_path / "log")
    logs = {"test": {"../IoU": {"a/b": 1.0, "..": 2.0}, "plain": 3.0, "text": "none"}}
    board.add_epoch(0, logs, [], {})
    board.close()
    assert [one.name for one in tmp_path.iterdir()] == ["log"]
    assert points(tmp_path / "log")["test_plain_epoch"] == [(0, 3.0)]
