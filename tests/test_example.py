"""example.py: it learns real images, and tells what is wrong before anything expensive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import example
from basetrainer.__main__ import main
from basetrainer.datasets.digits import write_digits
from tests.fixtures.programs import TIMEOUT

ROOT = Path(example.__file__).parent
CONFIG = ROOT / "configs" / "config.yaml"

pytestmark = pytest.mark.usefixtures("restored_logger", "data")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images that the configuration names, laid out once; and four of each class in ``few``."""
    folder = tmp_path_factory.mktemp("data")
    whole = write_digits(folder / "digits")
    for split in ("train", "test"):
        for images in (whole / split).iterdir():
            few = folder / "few" / split / images.name
            few.mkdir(parents=True)
            for image in sorted(images.iterdir())[:4]:
                shutil.copy(image, few)
    return folder


@pytest.fixture
def data(digits: Path, tmp_path: Path) -> None:
    """Images where the configuration looks for them, and few that are a test's own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits").symlink_to(digits / "digits")
    shutil.copytree(digits / "few", tmp_path / "few")


def start(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    monkeypatch.setattr(sys, "argv", ["example.py", *map(str, arguments)])
    return example.start()


def only_run(folder: Path) -> Path:
    (run,) = folder.iterdir()
    return run


@pytest.mark.slow
def test_it_learns_the_digits_and_the_best_model_loads_into_a_plain_net(
    tmp_path, monkeypatch, capsys
):
    torch.set_num_threads(os.cpu_count() or 1)
    logs = start(monkeypatch, "--config_file", CONFIG, "--num_epochs", 4)
    assert logs["test"]["Accuracy"] > 90  # type: ignore[index]
    lines = [line for line in capsys.readouterr().err.splitlines() if "| epoch " in line]
    assert len(lines) == 4
    run = only_run(tmp_path / "work_space")
    (best,) = (run / "model").glob("best_model_*.pth")
    import torchvision

    plain = torchvision.models.resnet18(num_classes=10)
    plain.load_state_dict(torch.load(best, weights_only=True))
    saved = yaml.safe_load((run / "setup_config.yaml").read_text())
    assert saved["num_epochs"] == 4
    assert (run / "config.yaml").read_text() == CONFIG.read_text()


@pytest.mark.distributed
def test_it_runs_in_two_processes_from_a_shell(tmp_path):
    flags = ["--distributed", "--gpu_id", "0", "1", "--num_epochs", "1"]
    flags += map(str, tiny_data(tmp_path))
    done = subprocess.run(
        [sys.executable, str(ROOT / "example.py"), "--config_file", str(CONFIG), *flags],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert "| device  : 2 x cpu" in done.stderr
    run = only_run(tmp_path / "work_space")
    assert len(list((run / "log").glob("events.*"))) == 1
    assert len((run / "log" / "results.csv").read_text().splitlines()) == 2


def test_two_ids_without_distributed_are_one_cpu_process_said_in_one_line(
    tmp_path, monkeypatch, capsys
):
    start(monkeypatch, "--gpu_id", 0, 1, "--num_epochs", 1, *tiny_data(tmp_path))
    said = [line for line in capsys.readouterr().err.splitlines() if "one CPU process" in line]
    assert len(said) == 1


def test_the_best_model_of_a_run_is_tested_again_to_the_same_figure(tmp_path, monkeypatch, capsys):
    logs = start(monkeypatch, "--num_epochs", 1, *tiny_data(tmp_path))
    run = only_run(tmp_path / "work_space")
    capsys.readouterr()
    assert main(["test", str(run), "--json", "--device", "cpu"]) == 0
    figures = json.loads(capsys.readouterr().out)["test"]
    assert figures["accuracy"] == pytest.approx(logs["test"]["Accuracy"])  # type: ignore[index]


def test_without_a_config_file_the_arguments_are_written_to_one(tmp_path, monkeypatch):
    start(monkeypatch, "--num_epochs", 1, *tiny_data(tmp_path))
    assert yaml.safe_load((tmp_path / "args_config.yaml").read_text())["num_epochs"] == 1


def tiny_data(tmp_path: Path) -> list[object]:
    """Arguments of a run that takes a second."""
    data = ["--train_data", tmp_path / "few" / "train", "--test_data", tmp_path / "few" / "test"]
    return [*data, "--net_type", "mobilenet_v2", "--batch_size", 20]


def test_a_dry_run_leaves_nothing_and_a_problem_ends_it_with_code_2(tmp_path, monkeypatch, capsys):
    data = [*tiny_data(tmp_path), "--dry_run"]
    before = sorted(tmp_path.rglob("*"))
    report = start(monkeypatch, "--config_file", CONFIG, *data)
    assert report.lines["checkpoint"].endswith("verified")  # type: ignore[attr-defined]
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit) as caught:
        start(monkeypatch, "--config_file", CONFIG, *data, "--lr", "1e30")
    assert caught.value.code == 2
    assert "error: after the last train batch: The loss" in capsys.readouterr().err


def test_resample_freeze_and_small_input_are_read_and_the_model_is_summed_up_once(
    tmp_path, monkeypatch, capsys
):
    settings = "num_epochs: 1\nresample: mean\nfreeze: [features.0]\nsmall_input: True\n"
    (tmp_path / "my.yaml").write_text(settings)
    start(monkeypatch, "--config_file", "my.yaml", *tiny_data(tmp_path))
    err = capsys.readouterr().err
    assert err.count("M parameters") == 1
    assert "frozen: 3 parameters, 1 BatchNorms" in err


def test_use_prune_trains_prunes_and_trains_on_and_a_later_run_goes_on_from_that(
    tmp_path, monkeypatch
):
    pytest.importorskip("torch_pruning")
    settings = "prune_backend: torch_pruning\nnum_epochs: 1\nwidth_mult: 0.5\n"
    (tmp_path / "my.yaml").write_text(settings)
    data = ["--config_file", "my.yaml", *tiny_data(tmp_path)]
    start(monkeypatch, *data, "--use_prune", "--sparsity", 0.5)
    run = only_run(tmp_path / "work_space")
    assert "| trained on |" in (run / "pruning.md").read_text()
    (pruned,) = run.glob("pruned1/model/best_model_*.pth")
    import basetrainer as bt

    small = sum(one.numel() for one in bt.load_pruned(pruned).parameters())
    assert small < 700_000  # of 2.2 million
    start(monkeypatch, *data, "--finetune", pruned, "--work_dir", "later")
    (later,) = only_run(tmp_path / "later").glob("model/best_model_*.pth")
    assert sum(one.numel() for one in bt.load_pruned(later).parameters()) == small


BAD_KEYS = {
    "num_epochs: three": ("num_epochs", "three", "bad.yaml, line "),
    "milestones: 20": ("milestones", "20", "[20]"),
    "batch_size: 0": ("batch_size", "0", "bad.yaml, line "),
    "batch_size: 5000": ("batch_size: 5000", "Lower batch_size"),
    "scheduler: cosin": ("scheduler", "cosin", "cosine"),
    "optim_type: SDG": ("optim_type:", "SDG", "sgd"),
    "loss_type: CELos": ("loss_type:", "CELos", "celoss"),
    "loss_args: { zz: 1 }": ("loss_args:", "zz"),
    "optim_args: { zz: 1 }": ("optim_args:", "zz"),
    "net_args: { zz: 1 }": ("net_args:", "zz"),
    "net_type: resnet81": ("net_type:", "resnet81", "resnet18"),
    "train_data: data/absent": ("data/absent",),
    "train_data: empty": ("train_data:", "empty", "image"),
    "finetune: absent.pth": ("finetune:", "absent.pth", "bad.yaml, line "),
    "finetune: bad.yaml": ("finetune:", "bad.yaml", "cannot be read as a file of weights"),
    "input_size: 0": ("input_size", "0"),
    "train_transform: [flop]": ("train_transform:", "flop", "flip"),
    "gpu_id: []": ("gpu_id",),
    "accumulate_steps: 0": ("accumulate_steps", "0"),
    "amp: half": ("amp", "half", "bf16"),
    "use_prune: True\nsparsity: 1.5": ("sparsity", "1.5", "bad.yaml, line "),
    "use_prune: True\nprune_mod: L3": ("prune_mod", "L3", "FPGM"),
    "resample: meen": ("resample:", "meen", "mean"),
    "freeze: [layer9]": ("layer9", "layer4"),
    "lr: [1": ("bad.yaml", "line "),
}


@pytest.mark.parametrize("line", BAD_KEYS)
def test_a_wrong_setting_ends_before_training_with_code_2_and_one_message(
    line, tmp_path, monkeypatch, capsys
):
    (tmp_path / "empty" / "class").mkdir(parents=True)
    keys = tuple(f"{one.partition(':')[0]}:" for one in line.splitlines())
    lines = [one for one in CONFIG.read_text().splitlines() if not one.startswith(keys)]
    (tmp_path / "bad.yaml").write_text("\n".join([*lines, line]))
    with pytest.raises(SystemExit) as caught:
        start(monkeypatch, "--config_file", "bad.yaml")
    assert caught.value.code == 2
    last = [one for one in capsys.readouterr().err.splitlines() if "error:" in one]
    assert len(last) == 1
    assert all(word.lower() in last[0].lower() for word in BAD_KEYS[line]), last
    assert not list(tmp_path.glob("work_space/*/model/*"))


def test_one_number_is_an_input_size_of_a_square(tmp_path, monkeypatch):
    (tmp_path / "square.yaml").write_text("input_size: 16\n")
    monkeypatch.setattr(sys, "argv", ["example.py", "--config_file", "square.yaml"])
    from basetrainer.utils.setup_config import parser_config

    assert parser_config(example.get_parser()).input_size == [16, 16]


def test_a_file_that_is_missing_or_empty_says_so(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty.yaml").touch()
    for name in ("absent.yaml", "empty.yaml"):
        with pytest.raises(SystemExit) as caught:
            start(monkeypatch, "--config_file", name)
        assert caught.value.code == 2
        assert name in capsys.readouterr().err


def test_a_misspelt_key_warns_with_the_right_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "near.yaml").write_text("num_epoch: 3\nnum_epochs: 1\nlr: 1e-3\n")
    start(monkeypatch, "--config_file", "near.yaml", *tiny_data(tmp_path))
    err = capsys.readouterr().err
    assert "num_epoch" in err
    assert "num_epochs" in err
    saved = yaml.safe_load((only_run(tmp_path / "work_space") / "setup_config.yaml").read_text())
    assert saved["lr"] == 0.001


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX")
def test_a_work_dir_that_cannot_be_written_says_so(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        start(monkeypatch, "--config_file", CONFIG, "--work_dir", "file/below")
    assert caught.value.code == 2
    assert "file/below" in capsys.readouterr().err


def test_a_broken_image_is_named(tmp_path, monkeypatch, capsys):
    arguments = tiny_data(tmp_path)
    image = next((tmp_path / "few" / "train" / "3").iterdir())
    image.write_bytes(b"no image")
    with pytest.raises(SystemExit) as caught:
        start(monkeypatch, *arguments, "--num_epochs", 1)
    assert caught.value.code == 1
    assert str(image.relative_to(tmp_path)) in capsys.readouterr().err


def test_the_example_stays_short():
    assert len((ROOT / "example.py").read_text().splitlines()) < 172


def test_fast_yaml_trains_says_what_it_chose_and_leaves_its_cache_to_the_next_run(
    tmp_path, monkeypatch, capsys
):
    fast = ["--config_file", ROOT / "configs" / "fast.yaml", "--num_epochs", 1]
    data = tiny_data(tmp_path)
    start(monkeypatch, *fast, *data, "--work_dir", "first")
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if "speed   : amp auto: " in line]) == 1
    assert "channels_last; keep_memory; fused SGD" in err
    assert err.count("built in") == 2  # train and test
    assert len(list((tmp_path / "work_space" / "cache").iterdir())) == 2
    start(monkeypatch, *fast, *data, "--work_dir", "second")
    err = capsys.readouterr().err
    assert "built in" not in err
    assert err.count("cache   : 40 images, 123 kB") == 2


def test_the_keys_that_change_only_the_speed_change_no_weight(tmp_path, monkeypatch):
    data = tiny_data(tmp_path)
    (tmp_path / "plain.yaml").write_text("num_epochs: 1\nresume: never\n")
    (tmp_path / "quick.yaml").write_text(
        "num_epochs: 1\nresume: never\ncache: disk\nnum_workers: auto\ntest_batch_size: 7\n"
    )
    states = []
    for name in ("plain", "quick"):
        start(monkeypatch, "--config_file", f"{name}.yaml", *data, "--work_dir", name)
        (model,) = (only_run(tmp_path / name) / "model").glob("latest_model_*.pth")
        states.append(torch.load(model, weights_only=True))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
