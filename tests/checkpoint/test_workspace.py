"""The folder of a run that can go on: found again, never one that is finished."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from easydict import EasyDict

from basetrainer.checkpoint.run_folder import MANIFEST, checkpoint_name, checkpoint_paths
from basetrainer.errors import ConfigError
from basetrainer.utils.setup_config import create_workspace, load_config


def left_behind(folder: str, epochs: int, update: int = 10, **more: Any) -> None:
    """Leave what a run of three epochs would have left after so many."""
    path = Path(folder, "checkpoints", checkpoint_name(update))
    path.mkdir(parents=True)
    manifest = {
        "position": {"epoch": epochs},
        "config": {"num_epochs": 3},
        "ended": None,
        "resumed_from": None,
        **more,
    }
    (path / MANIFEST).write_text(json.dumps(manifest))


def chosen(resume: Any = "auto", flags: Any = "net", **more: Any) -> str:
    cfg = EasyDict(work_dir="out", resume=resume, num_epochs=3, **more)
    return str(create_workspace(cfg, flags).work_dir)


@pytest.mark.parametrize("resume", ["never", None, False])
def test_a_run_that_is_not_to_go_on_has_the_time_in_its_name(resume):
    assert re.fullmatch(r"out/net_\d{8}_\d{6}_\d{4}", chosen(resume))


def test_a_run_that_is_to_go_on_has_not():
    assert chosen() == "out/net"
    assert chosen(True) == "out/net"
    assert chosen(flags=None) == "out"
    assert Path("out/net/model").is_dir()


def test_an_unfinished_run_goes_on_and_a_finished_one_is_left_alone(caplog):
    caplog.set_level("INFO")
    left_behind("out/net", 2)
    assert chosen() == "out/net"
    assert "The run in out/net goes on." in caplog.text
    left_behind("out/net", 3, update=20)
    assert chosen() == "out/net-2"
    assert "out/net is finished; the new run goes to out/net-2." in caplog.text
    left_behind("out/net-2", 3)
    left_behind("out/net-3", 1)
    assert chosen() == "out/net-3"


def test_a_run_that_ended_early_for_good_is_finished():
    left_behind("out/net", 1, ended="no improvement")
    assert chosen() == "out/net-2"


def test_more_epochs_go_on_with_a_finished_run():
    left_behind("out/net", 3)
    cfg = EasyDict(work_dir="out", resume="auto", num_epochs=5)
    assert create_workspace(cfg, "net").work_dir == "out/net"


def test_with_a_path_the_run_gets_a_folder_of_its_own_and_finds_it_again():
    left_behind("out/net", 2)
    assert chosen("out/net") == "out/net-2"
    left_behind("out/net-2", 2, resumed_from="out/net")
    assert chosen("out/net") == "out/net-2"
    left_behind("out/net-2", 3, update=30, resumed_from="out/net")
    assert chosen("out/net") == "out/net-3"


def test_a_damaged_manifest_does_not_hide_the_one_before():
    left_behind("out/net", 3, update=10)
    left_behind("out/net", 3, update=20)
    Path("out/net/checkpoints", checkpoint_name(20), MANIFEST).write_text("{")
    assert chosen() == "out/net-2"


def test_called_again_it_stays_and_the_settings_it_left_mean_the_same_run():
    cfg = EasyDict(work_dir="out", resume="auto", num_epochs=3)
    create_workspace(cfg, "net")
    assert create_workspace(cfg, "net").work_dir == "out/net"
    left_behind("out/net", 1)
    again = load_config("out/net/setup_config.yaml", easy=True)
    assert create_workspace(again, "net").work_dir == "out/net"


def test_the_settings_of_a_run_that_goes_on_stay_as_they_are():
    cfg = EasyDict(work_dir="out", resume="auto", num_epochs=3, lr=0.1)
    create_workspace(cfg, "net")
    before = Path("out/net/setup_config.yaml").read_bytes()
    left_behind("out/net", 1)
    create_workspace(EasyDict(work_dir="out", resume="auto", num_epochs=3, lr=0.5), "net")
    assert Path("out/net/setup_config.yaml").read_bytes() == before  # lr: 0.5 will be refused


def test_checkpoints_are_sorted_by_their_updates():
    for name in ("update-00000009", "update-00000010", "update-00000010.1", "update-100000000"):
        Path("c", name).mkdir(parents=True)
    for name in ("update-1", ".tmp-update-00000011", "abandoned-update-00000012", "other"):
        Path("c", name).mkdir()
    assert [path.name for path in checkpoint_paths(Path("c"))] == [
        "update-100000000",
        "update-00000010.1",
        "update-00000010",
        "update-00000009",
    ]
    assert checkpoint_paths(Path("absent")) == []


def test_a_wrong_length_of_the_run_is_named_with_its_key():
    with pytest.raises(ConfigError, match="num_epochs: 'three' is not a whole number"):
        create_workspace(EasyDict(work_dir="out", resume="auto", num_epochs="three"), "net")
    cfg = EasyDict(work_dir="out", resume="auto", num_epochs="3.0")
    assert create_workspace(cfg, "net").work_dir == "out/net"
