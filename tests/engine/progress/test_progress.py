"""Progress: a bar by the clock, lines without a terminal, silence between two of them."""

from __future__ import annotations

import io
import logging
import sys
import types
from typing import Any

import pytest

from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.engine.progress.progress import Progress, duration
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.tiny import TinyTrainer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Goes on by ``tick`` seconds at each look."""

    def __init__(self, tick: float) -> None:
        self.now = 0.0
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def trainer(tick: float, num_samples: int = 40, **cfg: Any) -> TinyTrainer:
    recorders = [LossesRecorder(), AccuracyRecorder()]
    made = TinyTrainer({"num_epochs": 2, **cfg}, recorders, num_samples=num_samples)
    made._screen = Progress(Clock(tick))
    return made


@pytest.fixture
def open_terminal(monkeypatch):
    def install() -> Terminal:  # within the test: pytest puts its own stderr there after the setup
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", "140")
        return stream

    return install


def test_the_bar_has_loss_metric_speed_lr_and_the_time_left(open_terminal):
    terminal = open_terminal()
    trainer(tick=0.5).run()
    draws = [draw for draw in terminal.getvalue().split("\r") if draw.strip()]
    last = next(draw for draw in reversed(draws) if draw.startswith("Train Epoch #1"))
    for part in ("/10, loss ", "Acc ", " left, run ", "8 samples/s", "lr 0.1"):
        assert part in last
    assert any(draw.startswith("Test  Epoch #1") for draw in draws)


def test_a_run_that_goes_on_counts_from_where_it_was(open_terminal):
    kept: dict[str, Any] = {"resume": "auto", "work_dir": "run"}
    begun = trainer(tick=0.5, **kept)

    def stop_at_six(batch: int, logs: Any = None) -> None:
        if batch == 5:
            begun.stop("enough", is_final=False)

    begun.on_batch_end = stop_at_six  # type: ignore[method-assign]
    begun.run()
    terminal = open_terminal()
    trainer(tick=0.5, **kept).run()
    draws = [draw for draw in terminal.getvalue().split("\r") if draw.startswith("Train Epoch #1")]
    assert "6/10" in draws[0]
    assert "10/10" in draws[-1]
    assert not any(f" {number}/10" in draw for draw in draws for number in range(6))


def test_the_bar_is_drawn_at_most_once_a_second(open_terminal):
    terminal = open_terminal()
    made = trainer(tick=0.25)
    made.run()
    seconds = made._screen._clock.now  # type: ignore[attr-defined]
    draws = [draw for draw in terminal.getvalue().split("\r") if "/10" in draw]
    assert 0 < len(draws) <= seconds + 1


def test_the_time_left_of_the_run_counts_whole_epochs(open_terminal):
    terminal = open_terminal()
    made = trainer(tick=1.0, num_epochs=3)
    made.run()
    text = [draw for draw in terminal.getvalue().split("\r") if "Train Epoch #2" in draw]
    # A pass is eleven looks at the clock, so an epoch with its test takes 22 seconds.
    assert "5/10, loss" in text[5]
    assert "0:05 left, run 0:27" in text[5]


def test_nothing_is_read_between_two_redraws(open_terminal, monkeypatch):
    open_terminal()
    reads: list[int] = []
    settle = LossesRecorder.new_tally

    def watched(self: LossesRecorder) -> Any:
        tally = settle(self)
        figures = tally.figures
        tally.figures = lambda: reads.append(1) or figures()  # type: ignore[func-returns-value,method-assign]
        return tally

    monkeypatch.setattr(LossesRecorder, "new_tally", watched)
    made = trainer(tick=1e-6, num_epochs=1, log_freq=0)
    made.run()
    assert len(reads) <= 4  # the figures of the two phases, settled at their ends


def test_without_a_terminal_there_are_lines_without_control_characters(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        trainer(tick=3.0).run()
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("Train Epoch #1: 4/10, loss ") for line in lines)
    assert any("run 0:" in line and "samples/s" in line for line in lines)
    assert any(line.startswith("Test Epoch #1: ") for line in lines)
    assert not any("\r" in line or "\x1b" in line for line in lines)
    assert capsys.readouterr().err == ""


def test_progress_false_silences_the_bar_and_not_the_lines(open_terminal, caplog):
    terminal = open_terminal()
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        trainer(tick=3.0, progress=False).run()
    assert "Train Epoch #1: 4/10" in caplog.text
    assert terminal.getvalue() == ""


def test_short_epochs_without_a_terminal_have_no_line_of_their_own(caplog):
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        trainer(tick=0.1).run()
    assert "Train" not in caplog.text


def test_data_of_unknown_length_is_counted(open_terminal):
    terminal = open_terminal()

    class Endless(TinyTrainer):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return _NoLength(super().build_train_loader(cfg, **kwargs))

    made = Endless({"num_epochs": 1}, [LossesRecorder()], num_samples=40)
    made._screen = Progress(Clock(1.0))
    made.run()
    assert "Train Epoch #1: 5 batches, loss " in terminal.getvalue()


class _NoLength:
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Any:
        return iter(self.loader)


def test_a_failing_run_leaves_no_bar_behind(open_terminal):
    terminal = open_terminal()

    class Failing(TinyTrainer):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                raise ValueError("mine")

    made = Failing({"num_epochs": 1}, num_samples=40)
    made._screen = Progress(Clock(1.0))
    with pytest.raises(ValueError, match="mine"):
        made.run()
    assert made._screen._bar is None
    assert terminal.getvalue().endswith("\r")


def test_only_in_a_notebook_tqdm_auto_is_asked(monkeypatch):
    made: list[dict[str, Any]] = []

    class Widget:
        n = 0

        def __init__(self, **options: Any) -> None:
            made.append(options)

        def set_postfix_str(self, text: str, refresh: bool) -> None: ...

        def refresh(self) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    notebook: Any = types.ModuleType("tqdm.auto")
    notebook.tqdm = Widget
    monkeypatch.setitem(sys.modules, "tqdm.auto", notebook)
    monkeypatch.setitem(sys.modules, "ipywidgets", types.ModuleType("ipywidgets"))
    trainer(tick=1.0, num_epochs=1).run()
    assert [one["desc"] for one in made] == ["Train Epoch #1", "Test  Epoch #1"]


def test_a_notebook_without_widgets_has_lines(monkeypatch, capsys, caplog):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.delitem(sys.modules, "ipywidgets", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        trainer(tick=3.0, num_epochs=1).run()
    assert "Train Epoch #1: 4/10, loss" in caplog.text
    assert "\r" not in capsys.readouterr().err


def test_batches_can_be_overridden_with_its_two_arguments():
    titles = []

    class Own(TinyTrainer):
        def batches(self, loader: Any, title: str) -> Any:
            titles.append(title)
            return super().batches(loader, title)

    Own({"num_epochs": 1, "progress": False}).run()
    assert titles == ["Train Epoch #1", "Test  Epoch #1"]


@pytest.mark.parametrize(("seconds", "text"), [(4.6, "0:05"), (75, "1:15"), (3725, "1:02:05")])
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
