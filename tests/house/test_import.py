"""Importing the package is quick, quiet and brings no optional package along."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import basetrainer
from tests.fixtures.programs import TIMEOUT

PUBLIC = (
    "basetrainer.engine.trainer, basetrainer.engine.launch, basetrainer.callbacks.log_history, "
    "basetrainer.callbacks.model_checkpoint, basetrainer.callbacks.losses_recorder, "
    "basetrainer.callbacks.multi_losses_recorder, basetrainer.metric.accuracy_recorder, "
    "basetrainer.scheduler.build_scheduler"
)
HEAVY = (
    "torchvision",
    "tensorboard",
    "nni",
    "matplotlib",
    "sklearn",
    "PIL",
    "timm",
)  # torch loads tqdm


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    assert done.stderr == ""
    return done.stdout


def test_importing_every_module_prints_nothing_and_loads_no_optional_package():
    names = [
        info.name
        for info in pkgutil.walk_packages(basetrainer.__path__, "basetrainer.")
        if not info.name.endswith("__main__")
    ]
    assert len(names) > 40
    code = (
        f"import sys, json, importlib\nfor name in {names!r}: importlib.import_module(name)\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    assert json.loads(python(code)) == []


def test_the_version_and_the_errors_need_no_torch():
    code = (
        "import sys, basetrainer, basetrainer.errors\n"
        "assert basetrainer.__version__ == '2.0.0' and 'torch' not in sys.modules\n"
        "assert sys.modules['basetrainer.__version__'].__version__ == '2.0.0'"
    )
    assert python(code) == ""


def test_what_is_visible_is_all_and_all_is_sorted():
    assert sorted(basetrainer.__all__) == sorted(set(basetrainer.__all__))
    for name in basetrainer.__all__:
        assert getattr(basetrainer, name) is not None
    assert set(basetrainer.__all__) <= set(dir(basetrainer))
    assert set(basetrainer._HOMES) == set(basetrainer.__all__) - {"__version__"}
