"""The command line: ``basetrainer`` and ``python -m basetrainer``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from basetrainer.__main__ import main
from tests.fixtures.programs import TIMEOUT


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == "basetrainer 2.0.0\n"


def test_info_names_versions_and_devices(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("basetrainer   2.0.0", "torch  ", "cores", "accelerators"))


def test_an_unknown_command_is_a_usage_error():
    done = subprocess.run(
        [sys.executable, "-m", "basetrainer", "nothing"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 2
    assert "invalid choice: 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr
