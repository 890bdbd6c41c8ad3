"""Every shell block of the README and the docs runs, but for what is marked ``not run: reason``.

The commands run in a folder that is like a clone in which somebody has worked: the example with
a configuration that takes seconds, and the images, files and runs that the pages name. A page that
gives a file its name in the first line (``# train.py``) finds it there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from basetrainer.__main__ import main
from basetrainer.datasets.digits import write_digits
from basetrainer.datasets.generated import write_image_folder
from tests.fixtures.programs import TIMEOUT, run_program
from tests.test_docs import PAGES, ROOT, named_files

BLOCK = re.compile(
    r"(<!-- not run: (?P<reason>.+?) -->\n)?^```bash\n(?P<code>.*?)^```", re.S | re.M
)
SMALL = {
    "train_data": "my/train",
    "test_data": "my/test",
    "net_type": "mobilenet_v3_small",
    "width_mult": 0.5,
    "num_epochs": 2,
    "batch_size": 8,
}
"""What the example's configuration has otherwise here; its own takes a minute."""


def commands(code: str) -> list[str]:
    """The lines that are to be run."""
    lines = [line for line in code.splitlines() if line.strip()]
    lines = [line for line in lines if not re.search(r"# .*\bnot run: \w+", line)]
    return [line for line in lines if "benchmarks" not in line]  # they measure, for hours


def is_command(line: str) -> bool:
    """Whether a line is a command of ours, which needs no process of its own."""
    return line.startswith("basetrainer ")


def shell() -> Iterator[tuple[Path, str, list[str]]]:
    """Yield a page, the name of a test, and the lines of a block or of a page that has files."""
    for page in PAGES:
        if page.name == "README.zh-CN.md":
            continue  # its blocks equal the README's
        found = list(BLOCK.finditer(page.read_text("utf-8")))
        parts = [commands(one["code"]) for one in found if not one["reason"]]
        if named_files(page):  # one story: each block goes on from the one before
            parts = [[line for part in parts for line in part]]
        for number, lines in enumerate(parts):
            if lines:
                yield page, f"{page.name}-{number}", lines


SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]
SHELL = [
    pytest.param(page, lines, id=name, marks=[] if all(map(is_command, lines)) else SLOW)
    for page, name, lines in shell()
]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with images, a configuration, and a run of two epochs."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copy(ROOT / "example.py", folder)
    shutil.copytree(ROOT / "configs", folder / "configs")
    config = folder / "configs" / "config.yaml"
    settings = yaml.safe_load(config.read_text("utf-8")) | SMALL
    config.write_text(yaml.safe_dump(settings), "utf-8")
    shutil.copy(config, folder / "my.yaml")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for name, size in (("my/train", 48), ("my/test", 16), ("more/test", 12), ("folder", 6)):
        write_image_folder(folder / name, num_images=size, num_classes=3, seed=len(name))
    shutil.copy(next((folder / "my/test").rglob("*.png")), folder / "photo.jpg")
    done = run_program("example.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    (first,) = (folder / "work_space").iterdir()
    for name in ("RUN", "A", "B"):
        first.with_name(name).symlink_to(first.name)
    shutil.copy(next(first.glob("model/best_model_*.pth")), folder / "best.pth")
    return folder


def run(folder: Path, line: str) -> None:
    """Run a line in a shell, as a user does with the environment activated."""
    own = folder / "bin"  # the commands of this tree, whatever is installed
    if not own.exists():
        own.mkdir()
        for name, module in (("python", ""), ("torchrun", "-m torch.distributed.run")):
            (own / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            (own / name).chmod(0o755)
    path = os.pathsep.join((str(own), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("page", "lines"), SHELL)
def test_a_shell_block_runs_as_it_stands(page, lines, clone, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(clone)
    for name, text in named_files(page).items():
        Path(name).write_text(text, "utf-8")
        write_digits("images")
    if any("prune" in line for line in lines):
        pytest.importorskip("nni")
    if any("pruned.pth" in line for line in lines):
        torch.save(pruned(clone), "pruned.pth")
    for line in lines:
        if is_command(line):
            assert main(shlex.split(line, comments=True)[1:]) == 0, capsys.readouterr()
        else:
            run(clone, line)


def pruned(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a pruned network that fits the images of the clone."""
    import basetrainer as bt
    from basetrainer.pruning.prune import prune

    network = bt.get_models("mobilenet_v3_small", [32, 32], 3, 0.5, pretrained=False)
    state: dict[str, torch.Tensor] = prune(network, [32, 32], 0.5, "L1").model.state_dict()
    return state


def test_commands_stand_in_blocks_where_they_are_run():
    for page in PAGES:
        text = page.read_text("utf-8")
        assert not re.search(r"^    (\$ )?(basetrainer|python|tensorboard|bash|pip) ", text, re.M)
        assert not re.search(r"^```(sh|shell|console)$", text, re.M)
