from __future__ import annotations

import pkgutil
import subprocess
import sys

import basetrainer.dataloader
import basetrainer.datasets


def test_importing_the_room_prints_nothing_and_loads_no_image_library():
    rooms = (basetrainer.datasets, basetrainer.dataloader)
    names = [
        info.name
        for room in rooms
        for info in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
    ]
    assert len(names) > 15
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "heavy = {'torchvision', 'PIL', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    flags = ["-W", "error", "-W", "ignore::DeprecationWarning"]  # old paths say the new one
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
