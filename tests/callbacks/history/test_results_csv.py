"""results.csv grows by columns: late metrics, parts of dicts, several test sets, resumes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from basetrainer._logs import SetLogs
from basetrainer.callbacks.history.results_csv import ResultsCsv
from basetrainer.errors import StorageError


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def header(path: Path) -> list[str]:
    return path.read_text().splitlines()[0].split(",")


def test_a_late_metric_gets_its_column_and_the_old_rows_stay(tmp_path):
    path = tmp_path / "results.csv"
    file = ResultsCsv(path)
    file.append(0, {"train": {"loss": 0.5}})
    file.append(1, {"train": {"loss": 0.4}, "test": {"loss": 0.6, "IoU": {"a": 1.0, "b": 2.0}}})
    file.append(2, {"train": {"loss": 0.3, "later": torch.tensor(7)}})
    assert header(path) == [
        *("epoch", "train-loss", "test-loss", "test-IoU/a", "test-IoU/b", "train-later"),
    ]
    assert [row["train-loss"] for row in table(path)] == ["0.5", "0.4", "0.3"]
    assert [row["test-loss"] for row in table(path)] == ["", "0.6", ""]
    assert [row["test-IoU/b"] for row in table(path)] == ["", "2", ""]
    assert [row["train-later"] for row in table(path)] == ["", "", "7"]
    assert sorted(tmp_path.iterdir()) == [path]


def test_indicators_have_a_column_of_each_phase_from_the_start(tmp_path):
    path = tmp_path / "results.csv"
    file = ResultsCsv(path, ["loss", "Acc"])
    file.append(0, {"train": {"loss": 1, "other": 2}})
    assert header(path) == ["epoch", "train-loss", "test-loss", "train-Acc", "test-Acc"]
    file.append(1, {"train": {"loss": 1}, "test": {"loss": 3, "Acc": {"a": {"deep": 4.0}}}})
    # The columns that were kept free for a number give way to those of the parts.
    assert header(path) == ["epoch", "train-loss", "test-loss", "train-Acc", "test-Acc/a/deep"]
    assert table(path)[1]["test-Acc/a/deep"] == "4"


def test_losses_in_a_dict_need_no_test_to_have_columns(tmp_path):
    path = tmp_path / "results.csv"
    file = ResultsCsv(path, ["loss"])
    file.append(0, {"train": {"loss": {"a": 1.0, "b": 2.0}}})
    file.append(1, {"train": {"loss": {"a": 1.0}}, "test": {"loss": {"a": 3.0, "b": 4.0}}})
    assert header(path) == [
        *("epoch", "train-loss/a", "train-loss/b", "test-loss/a", "test-loss/b"),
    ]
    assert list(table(path)[1].values()) == ["1", "1", "", "3", "4"]


def test_test_sets_have_columns_and_so_has_what_a_callback_adds_beside_them(tmp_path):
    path = tmp_path / "results.csv"
    file = ResultsCsv(path, test_sets=["clean", "noisy"])
    file.append(0, {"train": {"loss": 1.0}})
    sets = {"clean": {"loss": 2.0}, "noisy": {"loss": 3.0}}
    file.append(1, {"train": {"loss": 1.0}, "test": SetLogs({**sets, "gap": 1.0})})
    row = table(path)[1]
    assert (row["test-clean/loss"], row["test-noisy/loss"], row["test-gap"]) == ("2", "3", "1")


def test_what_is_no_number_leaves_an_empty_field_and_text_keeps_its_commas_out(tmp_path):
    path = tmp_path / "results.csv"
    file = ResultsCsv(path, ["loss", "note"])
    file.append(0, {"train": {"loss": float("nan"), "note": "a,b"}, "test": {"loss": [1, 2]}})
    assert list(table(path)[0].values()) == ["0", "nan", "", "", ""]


def test_a_resumed_run_goes_on_with_the_columns_that_are_there(tmp_path):
    path = tmp_path / "results.csv"
    for epoch, is_resumed in ((0, False), (1, True), (0, False)):
        file = ResultsCsv(path, is_resumed=is_resumed)
        file.append(epoch, {"train": {"loss": 1.0, f"new{epoch}": 2.0}})
        if is_resumed:
            assert header(path) == ["epoch", "train-loss", "train-new0", "train-new1"]
            assert [row["train-new1"] for row in table(path)] == ["", "2"]
    # Another run with another header has a file of its own.
    assert header(path) == ["epoch", "train-loss", "train-new0"]
    assert header(tmp_path / "results-1.csv")[-1] == "train-new1"


def test_dicts_of_an_old_table_stay_as_they_are(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("epoch,train-loss,test-loss\n0,\"{'a': 1.0}\",\n")
    file = ResultsCsv(path, ["loss"], is_resumed=True)
    file.append(1, {"train": {"loss": {"a": 2.0}}, "test": {"loss": {"a": 3.0}}})
    assert header(path) == ["epoch", "train-loss", "train-loss/a", "test-loss/a"]
    assert [row["train-loss"] for row in table(path)] == ["{'a': 1.0}", ""]


def test_columns_and_rows_wait_for_room(tmp_path, monkeypatch, caplog):
    path = tmp_path / "results.csv"
    file = ResultsCsv(path)
    file.append(0, {"train": {"loss": 1.0}})
    before = path.read_bytes()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise StorageError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("basetrainer.callbacks.history.line_file.write_atomically", refuse)
        file.append(1, {"train": {"loss": 2.0, "late": 3.0}})
        file.append(2, {"train": {"loss": 2.0, "later": 4.0}})
    assert path.read_bytes() == before
    assert caplog.text.count("lines wait in memory") == 1
    file.append(3, {"train": {"loss": 5.0}})
    assert [list(row.values()) for row in table(path)] == [
        ["0", "1", "", ""],
        ["1", "2", "3", ""],
        ["2", "2", "", "4"],
        ["3", "5", "", ""],
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_name_with_a_comma_is_one_column(tmp_path, ending):
    path = tmp_path / "results.csv"
    path.write_bytes(f'epoch,"train-a, b"{ending}0,1{ending}'.encode())
    ResultsCsv(path, is_resumed=True).append(1, {"train": {"a, b": 2.0, "c": 3.0}})
    assert [row["train-a, b"] for row in table(path)] == ["1", "2"]
