"""docs/notebook.ipynb: its cells run one after the other, in one process."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import example
from tests.fixtures.programs import run_program

NOTEBOOK = Path(example.__file__).parent / "docs" / "notebook.ipynb"


def test_the_notebook_trains_stops_goes_on_and_looks(tmp_path):
    pytest.importorskip("matplotlib")
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in cells)  # none that nobody has seen
    (tmp_path / "cells.py").write_text("\n".join(code))
    done = run_program("cells.py")
    assert done.returncode == 0, done.stderr
    stopped, ended = re.findall(r"Position\(epoch=(\d+), step=(\d+)", done.stdout)
    assert (stopped, ended) == (("1", "11"), ("4", "0"))
    figure = float(re.search(r"'Acc': ([\d.]+)", done.stdout)[1])  # type: ignore[index]
    best = float(re.search(r"best_model_\S+: ([\d.]+) %", done.stdout)[1])  # type: ignore[index]
    assert best >= round(figure, 2) > 85
