"""What launch() refuses, or warns of, before it starts a process; and what it hands back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest
import torch

from basetrainer.callbacks.callbacks import Callback
from basetrainer.engine.launch import launch
from basetrainer.scheduler.build_scheduler import get_scheduler
from tests.tiny import TinyTrainer

SLOW_END = """
import time
import torch.distributed as dist
from basetrainer.engine.launch import launch

def work():
    time.sleep(3 * dist.get_rank())

if __name__ == "__main__":
    launch(work, 2, start_method="fork")
"""


def give() -> Any:
    return {"weights": torch.ones(2), "more": {"epoch": 1}}


@pytest.mark.parametrize(("rank", "count"), [("0", 1), ("1", 0)])
def test_copies_that_will_not_work_together_are_told_of_once(monkeypatch, caplog, rank, count):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    assert launch(give, 2, distributed=False)["more"] == {"epoch": 1}
    told = [text for text in caplog.messages if "WORLD_SIZE is 2" in text]
    assert len(told) == count


@pytest.mark.parametrize("world_size", [None, "1", "many"])
def test_one_process_alone_is_told_nothing(monkeypatch, caplog, world_size):
    if world_size is not None:
        monkeypatch.setenv("WORLD_SIZE", world_size)
    launch(give, 2, distributed=False)
    assert caplog.messages == []


@pytest.mark.parametrize("is_argument", [False, True])
def test_what_a_notebook_defines_is_refused_before_anything_starts(
    monkeypatch, capsys, is_argument
):
    main = sys.modules["__main__"]

    def work(*args: Any) -> None: ...

    work.__module__, work.__qualname__ = "__main__", "work"
    monkeypatch.setattr(main, "work", work, raising=False)
    monkeypatch.delattr(main, "__file__", raising=False)
    called, args = (print, (work,)) if is_argument else (work, ())
    with pytest.raises(SystemExit) as caught:
        launch(called, 2, args=args)
    assert caught.value.code == 2
    name = "print" if is_argument else "work"
    said = capsys.readouterr().err
    assert f"cannot hand '{name}' to new processes" in said
    assert "notebook or an interactive session" in said
    assert said.count("\n") == 1


def misspelt() -> None:
    class Wrong(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.draw()  # type: ignore[no-untyped-call]

        def draw(self):
            get_scheduler("cosin", cast("Any", None), 0.1, 1, 1)  # what is misspelt  # type: ignore[call-overload]

    trainer = TinyTrainer({"num_epochs": 1, "progress": False, "gpu_id": [0, 1]}, [Wrong()])
    trainer.run()


@pytest.mark.distributed
def test_an_error_of_ours_deep_in_the_users_code_shows_the_users_lines(capfd):
    with pytest.raises(SystemExit) as caught:
        launch(misspelt, 2, start_method="fork")
    assert caught.value.code == 2
    said = capfd.readouterr().err
    text = said.splitlines()[-1]
    assert text.startswith("error: ")
    assert "cosin" in text
    assert said.count("in draw\n") == said.count("in on_epoch_begin\n") == 1
    assert 'get_scheduler("cosin", cast("Any", None), 0.1, 1, 1)  # what is misspelt' in said
    assert "Traceback" not in said


@pytest.mark.distributed
def test_a_plain_dict_of_tensors_comes_back_as_one():
    result = launch(give, 2, start_method="fork")
    assert type(result) is dict
    assert type(result["more"]) is dict
    assert torch.equal(result["weights"], torch.ones(2))


@pytest.mark.slow
@pytest.mark.distributed
def test_a_rank_that_ends_later_than_another_leaves_stderr_empty(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SLOW_END)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
