"""The builders load nothing that they may not need, and print nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import basetrainer
from tests.fixtures.programs import TIMEOUT

ROOMS = ("scheduler", "optimizer", "criterion", "models")
PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torchvision", "timm", "matplotlib"}, loaded
"""


def test_importing_the_builders_loads_no_extra_and_prints_nothing() -> None:
    root = Path(basetrainer.__file__).parent
    modules = [
        f"basetrainer.{room}.{path.stem}" for room in ROOMS for path in (root / room).glob("*.py")
    ]
    assert len(modules) > 25
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules],
        cwd=root.parent,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
