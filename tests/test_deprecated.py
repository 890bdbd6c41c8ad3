"""Old names that have a better new one say so, on the line of the program that uses them."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from torch import nn

import basetrainer as bt
import example
from tests.fixtures.programs import TIMEOUT

PAGE = (Path(example.__file__).parent / "docs" / "moving_over.md").read_text("utf-8")
PATHS = dict(
    re.findall(r"^\| `basetrainer\.([\w.]+)` \| `basetrainer\.(.+)` \|$", PAGE, re.M)
)  # as the page on moving over tells them


def test_the_page_on_moving_over_tells_every_path_that_warns():
    root = Path(bt.__file__).parent
    doors = {
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in root.rglob("*.py")
        if "\nwarn_moved(" in path.read_text("utf-8")
    }
    assert set(PATHS) == doors


@pytest.mark.parametrize("old", PATHS)
def test_an_old_path_names_the_new_one_which_has_the_same_things(old):
    sys.modules.pop(f"basetrainer.{old}", None)
    with pytest.warns(DeprecationWarning, match="is an old path") as caught:
        door = importlib.import_module(f"basetrainer.{old}")
    (warning,) = caught
    assert str(warning.message).startswith(f"basetrainer.{old} is an old path: import basetrainer.")
    homes = re.findall(r"basetrainer\.[\w.]*\w", str(warning.message))[1:]
    assert [home.removeprefix("basetrainer.") for home in homes] == re.split(
        r"`, `basetrainer\.", PATHS[old]
    )
    modules = [importlib.import_module(home) for home in homes]
    for name in door.__all__:
        assert any(getattr(home, name, None) is getattr(door, name) for home in modules)


def test_the_warning_stands_on_the_line_that_imports():
    done = subprocess.run(
        [sys.executable, "-c", "\nfrom basetrainer.utils.torch_data import build_dataloader"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0
    assert done.stderr.startswith("<string>:2: DeprecationWarning: basetrainer.utils.torch_data")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"moder_dir": "run"}, "moder_dir= of ModelCheckpoint is now model_dir=."),
        (
            {"model_dir": "run", "inverse": True},
            "inverse= of ModelCheckpoint is now mode='min' (smaller is better) or mode='max'.",
        ),
    ],
)
def test_an_old_argument_names_the_new_one_and_does_what_it_did(old, new):
    with pytest.warns(DeprecationWarning, match=re.escape(new)) as caught:
        saver = bt.ModelCheckpoint(nn.Linear(1, 1), None, **old, indicator="Acc")
    assert caught[0].filename == __file__
    assert str(saver.model_dir) == "run"
    assert saver.monitor.mode == ("min" if "inverse" in old else "max")


def test_a_folder_given_by_its_place_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bt.ModelCheckpoint(nn.Linear(1, 1), None, "run", 3)
