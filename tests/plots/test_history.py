"""What a run left is read back, whether it is ours, an old one, or still being written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from basetrainer.errors import ConfigError, DataError
from basetrainer.plots.history import read_run


def write_jsonl(folder: Path, *rows: object, end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + end)
    return path


def row(epoch: int, accuracy: float | None = 50.0) -> dict[str, object]:
    return {"epoch": epoch, "lr": 0.1, "train": {"loss": 1.0}, "test": {"Acc": accuracy}}


def test_a_run_is_found_by_its_folder_its_log_folder_and_its_file(tmp_path):
    path = write_jsonl(tmp_path / "mine" / "log", row(0))
    for run in (tmp_path / "mine", path.parent, path):
        history = read_run(run)
        assert (history.name, len(history.rows)) == ("mine", 1)
    (tmp_path / "other").mkdir()
    path.rename(tmp_path / "other" / "metrics.jsonl")
    assert read_run(tmp_path / "other").name == "other"


def test_the_best_epoch_is_the_first_of_equal_ones_and_never_nan(tmp_path):
    write_jsonl(tmp_path, row(0, 70.0), row(1, None), row(2, 90.0), row(3, 90.0))
    (tmp_path / "run.json").write_text('{"monitor": {"indicator": "Acc", "mode": "max"}}')
    history = read_run(tmp_path)
    assert history.best() == (2, 90.0)
    history.mode = "min"
    assert history.best() == (0, 70.0)
    history.indicator = "absent"
    assert history.best() is None


def test_panels_have_losses_first_and_a_line_for_each_part(tmp_path):
    losses = {"loss": {"box": 1.0, "total_loss": 3.0}}
    sets = {"clean": {"Acc": 1.0, **losses}, "noisy": {"Acc": None}}
    first = {"epoch": 0, "lr": 0.1, "train": {"Acc": 9.0, **losses}, "test": sets}
    write_jsonl(tmp_path, first, {"epoch": 1, "lr": 0.2, "train": {"Acc": 8.0}})
    (tmp_path / "run.json").write_text('{"test_sets": ["clean", "noisy"]}')
    panels = read_run(tmp_path).panels()
    assert list(panels) == ["loss", "Acc", "learning rate"]
    assert panels["Acc"]["train"] == ([0, 1], [9.0, 8.0])
    assert list(panels["Acc"]) == ["train", "test clean", "test noisy"]
    assert math.isnan(panels["Acc"]["test noisy"][1][0])
    assert panels["loss"]["test clean: box"] == ([0], [1.0])
    assert panels["loss"]["train: total_loss"] == ([0], [3.0])
    assert panels["learning rate"]["learning rate"] == ([0, 1], [0.1, 0.2])


def test_of_several_runs_in_one_folder_it_is_the_last(tmp_path):
    write_jsonl(tmp_path, row(0), row(1), row(2), row(0, 1.0), row(1, 2.0))
    assert [one["test"]["Acc"] for one in read_run(tmp_path).rows] == [1.0, 2.0]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    path = write_jsonl(tmp_path, row(0), end='\n{"epo')
    assert len(read_run(path).rows) == 1
    path.write_text('{"epoch": 0}\nno json\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2"):
        read_run(path)


def test_the_table_of_an_old_run_is_read_too(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        "epoch,test-loss,train-loss,train-Acc,test-Acc\n"
        "0,\"{'box': 0.5, 'cls': nan}\",\"{'box': 0.7}\",40,50\n"
        "1,,0.6,60,\n"
    )
    panels = read_run(tmp_path).panels()
    assert panels["loss"]["test: box"] == ([0], [0.5])
    assert panels["loss"]["train: box"] == ([0], [0.7])
    assert panels["loss"]["train"] == ([1], [0.6])
    assert math.isnan(panels["loss"]["test: cls"][1][0])
    assert panels["Acc"] == {"train": ([0, 1], [40.0, 60.0]), "test": ([0], [50.0])}
    path.write_text("epoch,train-loss,test-clean/loss\n0,1,2\n")
    assert list(read_run(path).panels()["loss"]) == ["train", "test clean"]
    path.write_text(
        "epoch,train-loss,test-loss\n0,tensor(0.5),\"{'a': tensor(2., grad_fn=<X>)}\"\n"
    )
    assert read_run(path).panels()["loss"] == {"train": ([0], [0.5]), "test: a": ([0], [2.0])}


def test_flat_columns_are_parts_and_test_sets_by_what_the_run_says(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        "epoch,train-loss/a/b,test-IoU/circle,test-IoU/square\n0,0.5,11.4,50\n1,,,note\n"
    )
    history = read_run(path)
    panels = history.panels()
    assert panels["loss"] == {"train: a/b": ([0], [0.5])}
    assert panels["IoU"] == {"test: circle": ([0], [11.4]), "test: square": ([0], [50.0])}
    history.indicator = "IoU/square"
    assert history.best() == (0, 50.0)
    path.write_text("epoch,test-a/IoU,test-b/IoU,test-own\n0,1,2,3\n")
    (tmp_path / "run.json").write_text('{"test_sets": ["a", "b"]}')
    panels = read_run(path).panels()
    assert list(panels["IoU"]) == ["test a", "test b"]
    assert list(panels["own"]) == ["test"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("loss\n1\n", "no column 'epoch'"), ("epoch,train-loss\nx,1\n", "line 2 is no row")],
)
def test_a_table_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path)


def test_what_is_no_run_is_told_with_what_was_meant(tmp_path):
    write_jsonl(tmp_path / "runs" / "mine" / "log", row(0))
    with pytest.raises(ConfigError, match=r"no run's folder\. Did you mean .*mine"):
        read_run(tmp_path / "runs")
    with pytest.raises(ConfigError, match="There is no run"):
        read_run(tmp_path / "absent")
    (tmp_path / "model.pth").touch()
    with pytest.raises(ConfigError, match="no file of figures"):
        read_run(tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="has no epoch yet"):
        read_run(write_jsonl(tmp_path / "new", end=""))
