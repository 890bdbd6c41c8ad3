"""The subcommands, as a person calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from basetrainer.__main__ import main
from basetrainer.datasets.generated import write_image_folder

CONFIG = """\
lr: 1e-1
num_epochs: 4
scheduler: multi-step
milestones: [2]
num_warn_up: 1
momentum: 0.9
"""


def test_lr_draws_the_schedule_of_a_config(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    Path("config.yaml").write_text(CONFIG)
    assert main(["lr", "-c", "config.yaml", "--num_steps", "10", "--out", "out/lr.png"]) == 0
    assert Path("out/lr.png").read_bytes().startswith(b"\x89PNG")
    assert "4 epochs, from 0.01 over 0.1 to 0.01" in capsys.readouterr().out


def test_lr_draws_what_the_arguments_of_the_schedule_make_of_it(capsys):
    pytest.importorskip("matplotlib")
    Path("config.yaml").write_text(
        "lr: 0.1\nnum_epochs: 4\nscheduler: linear\nscheduler_args: {lr_min: 0.05}\n"
    )
    assert main(["lr", "-c", "config.yaml"]) == 0
    assert "4 epochs, from 0.1 over 0.1 to 0.0501" in capsys.readouterr().out


def test_lr_prints_a_table_without_matplotlib(monkeypatch, capsys):
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")

    monkeypatch.setattr("basetrainer._optional.importlib.import_module", absent)
    Path("config.yaml").write_text(CONFIG)
    code = main(["lr", "-c", "config.yaml", "--num_steps", "10"])
    out = capsys.readouterr().out
    assert code == 0
    assert "    3  0.01       0.01" in out
    assert "basetrainer[plots]" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: 0.1", "names no scheduler"),
        ("scheduler: cosin", "Did you mean 'cosine'"),
        ("scheduler: cosine\nnum_epochs: three", "num_epochs"),
        ("scheduler: cosine\nnum_epochs: 0", "num_epochs: 0 is less than 1"),
        ("scheduler: multi-step", "needs milestones"),
        ("scheduler: multi-step\nmilestones: 20", "Write one, such as [30, 60]"),
        ("scheduler: multi-step\nmilestones: [a]", "'a' is not a number"),
        ("scheduler: cosine\nscheduler_args: {lrmin: 1}", "Did you mean 'lr_min'?"),
        ("scheduler: cosine\nscheduler_args: [3]", "is not a mapping of arguments"),
    ],
)
def test_lr_says_what_is_wrong_with_code_2(text, message, capsys):
    Path("config.yaml").write_text(text)
    assert main(["lr", "-c", "config.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_check_finds_broken_images_and_copies(tmp_path, capsys):
    write_image_folder(tmp_path / "train", num_images=12, num_classes=3)
    Path("config.yaml").write_text("train_data: train\ntest_data: test\n")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    assert main(["check", "config.yaml"]) == 1
    assert "both in train and test" in capsys.readouterr().out
    Path("config.yaml").write_text("train_data: train\n")
    assert main(["check", "config.yaml"]) == 0
    image = next((tmp_path / "train").rglob("*.png"))
    image.write_bytes(b"no image")
    assert main(["check", "config.yaml"]) == 1
    assert "1 file broken" in capsys.readouterr().out


def test_check_reads_several_test_sets(tmp_path, capsys):
    for place, name in enumerate(("train", "day", "night")):
        write_image_folder(tmp_path / name, num_images=6, num_classes=3, seed=place)
    Path("config.yaml").write_text("train_data: train\ntest_data: {day: day, night: [night]}\n")
    assert main(["check", "config.yaml"]) == 0
    streams = capsys.readouterr()
    assert "test night: 6 images in 3 classes, from night" in streams.out
    assert streams.err == ""  # no bar where nobody looks


def test_check_without_data_is_an_error_of_the_config(capsys):
    Path("config.yaml").write_text("train_data: absent\n")
    assert main(["check", "config.yaml"]) == 2
    assert "absent" in capsys.readouterr().err


def log_of(folder: Path, accuracies: list[float]) -> Path:
    folder.mkdir(parents=True)
    rows = [
        {"epoch": epoch, "lr": 0.1, "train": {"loss": 1.0}, "test": {"Acc": accuracy}}
        for epoch, accuracy in enumerate(accuracies)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "run.json").write_text('{"monitor": {"indicator": "Acc", "mode": "max"}}')
    return folder


def test_plot_draws_one_run_or_compares_several(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    first = log_of(tmp_path / "first" / "log", [50.0, 70.5, 60.0])
    second = log_of(tmp_path / "second", [80.0])
    assert main(["plot", str(first.parent)]) == 0
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    assert "first: 3 epochs, best Acc 70.5 in epoch 2\ncurves.png" in capsys.readouterr().out
    assert main(["plot", str(first), str(second), "--out", "out/both.svg"]) == 0
    assert "<svg" in Path("out/both.svg").read_text()
    assert "second: 1 epoch, best Acc 80 in epoch 1" in capsys.readouterr().out


def test_plot_tells_runs_of_the_same_name_apart(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    runs = [str(log_of(tmp_path / place / "run" / "log", [1.0])) for place in ("a", "b")]
    assert main(["plot", *runs]) == 0
    out = capsys.readouterr().out
    assert all(f"{run}: 1 epoch, best" in out for run in runs)


def test_plot_says_what_is_wrong_with_code_2(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["plot", "absent"]) == 2
    assert "There is no run 'absent'" in capsys.readouterr().err
    assert main(["plot", str(log_of(tmp_path / "run", [1.0])), "--out", "curves.xyz"]) == 2
    assert "no format 'xyz'" in capsys.readouterr().err
