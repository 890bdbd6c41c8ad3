"""Every Python block of the README, its Chinese twin and the docs runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import example
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.criterion.criterion import LOSSES
from basetrainer.datasets.balance import STRENGTHS
from basetrainer.datasets.transforms import MIXES, PRESETS, STEPS
from basetrainer.engine.base import HOOKS, Base
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.optimizer.build_optimizer import OPTIMIZERS
from basetrainer.scheduler.build_scheduler import SCHEDULERS
from docs.make_structure import JOBS, LISTENERS, PATH, parent, steps
from tests.fixtures.programs import run_program
from tests.tiny import TinyTrainer

ROOT = Path(example.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def named_files(page: Path) -> dict[str, str]:
    """The blocks of a page that give a file its name in their first line, by that name."""
    found = [code for language in ("python", "yaml") for code in blocks(page, language)]
    return {name[1]: code for code in found if (name := re.match(r"# ([\w.]+\.\w+)\n", code))}


PYTHON = [
    pytest.param(page, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"))
    if page.name != "README.zh-CN.md"  # its blocks equal the README's, see below
]


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_a_block_runs_as_it_stands(page, code, tmp_path):
    files = named_files(page)
    for name, text in {**files, "block.py": code}.items():
        (tmp_path / name).write_text(text, "utf-8")
    # A whole program is run to its end by the shell blocks of its page.
    more = ["--dry_run"] if code in files.values() else []
    done = run_program("block.py", *more, warnings=[("error", "DeprecationWarning")])
    lacking = re.search(r"^\S+Error: .*pip install '\S+\[\w+\]'.*", done.stderr, re.M)
    if lacking:
        pytest.skip(lacking[0])  # the block is about an extra
    assert done.returncode == 0, done.stderr
    if "DigitTrainer" in code:
        accuracy = float(re.search(r"'Acc': ([\d.]+)", done.stdout)[1])  # type: ignore[index]
        assert accuracy > 90


TRAINING = [one for one in PYTHON if re.search(r"\"num_epochs\": \d+", str(one.values[1]))]


@pytest.mark.parametrize(("page", "code"), TRAINING)
def test_a_block_that_trains_works_where_not_every_epoch_has_a_test(page, code, tmp_path):
    sparse = re.sub(r"\"num_epochs\": \d+", '"num_epochs": 3, "test_every": 2', code)
    (tmp_path / "block.py").write_text(sparse, "utf-8")
    done = run_program("block.py")
    assert done.returncode == 0, done.stderr


def defined(page: str, name: str) -> Any:
    """Return what the block of a page that defines ``name`` makes."""
    found: dict[str, Any] = {}
    (code,) = (one for one in blocks(ROOT / page, "python") if f" {name}(" in one)
    exec(code, found)
    return found[name]


def test_what_the_pages_define_works_where_not_every_epoch_has_a_test(tmp_path):
    settings = {"num_epochs": 5, "test_every": 2, "progress": False}
    stop = defined("README.md", "StopAtTarget")(0.1)
    history = LogHistory(tmp_path / "log", pictures=False)
    trainer = TinyTrainer(settings, [LossesRecorder(), AccuracyRecorder(), history, stop])
    trainer.run()
    assert trainer.position.epoch == 2  # the first epoch that has a test
    figures = defined("docs/watching.md", "figures")(tmp_path, "Acc")
    assert list(figures) == [1]


def test_the_chinese_readme_has_the_same_blocks_tables_and_sections():
    english, chinese = (page.read_text("utf-8") for page in PAGES[:2])
    for language in ("python", "bash", "text"):
        assert [strip(one) for one in blocks(PAGES[0], language)] == [
            strip(one) for one in blocks(PAGES[1], language)
        ]
    for pattern in (r"^#+ ", r"^\|"):
        assert len(re.findall(pattern, english, re.M)) == len(re.findall(pattern, chinese, re.M))
    assert re.findall(r"^\| (`[^|]+`) ", english, re.M) == re.findall(
        r"^\| (`[^|]+`) ", chinese, re.M
    )


def strip(code: str) -> str:
    """The code without its comments, which are translated."""
    return re.sub(r"\s+#.*|\s*\"\"\".*?\"\"\"", "", code)


def test_links_of_the_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+\.\w+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_schedule_has_a_small_picture_on_the_page_of_the_builders():
    page = (ROOT / "docs" / "builders.md").read_text("utf-8")
    shown = set(re.findall(r"\(assets/schedule_(\w+)\.png\)", page))
    assert shown == set(SCHEDULERS) - {"multi-step", "explr"}  # other names of two of them
    for name in shown:
        picture = ROOT / "docs" / "assets" / f"schedule_{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 40_000


def test_every_name_that_a_builder_knows_is_on_its_page():
    page = (ROOT / "docs" / "builders.md").read_text("utf-8").lower()
    words = set(re.findall(r"[\w-]+", page))
    aliases = {"labelsmooth", "smoothl1loss", "mseloss"}  # known, but one name is enough to tell
    assert {
        *SCHEDULERS,
        *OPTIMIZERS,
        *LOSSES,
        *STEPS,
        *PRESETS,
        *MIXES,
        *STRENGTHS,
    } - aliases <= words


def test_the_picture_of_classes_and_hooks_is_drawn_from_all_hooks():
    hooks = [text for _, text, kind in steps() if kind == "hook"]
    assert sorted(hooks) == sorted(HOOKS)
    assert all(kind is Base or parent(kind) for kind in (*JOBS, *LISTENERS))
    assert PATH.read_bytes().startswith(b"\x89PNG")
    assert PATH.stat().st_size < 100_000
