"""The bar fits every terminal, also one that says it has no columns."""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.engine.progress.bar import Reading, _width, columns_of, layout
from basetrainer.engine.progress.progress import Progress
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.engine.progress.test_progress import Clock
from tests.tiny import TinyTrainer

LONG = Reading(
    "Train Epoch #12",
    number=432,
    total=1200,
    figures=("loss 0.7211", "Accuracy 38.92"),
    left="0:05",
    run="1:27:00",
    speed="1834",
    lr=0.00123,
)


def on_terminal(
    monkeypatch: pytest.MonkeyPatch, rows: int, columns: int, work: Callable[[], object]
) -> list[str]:
    """Return what ``work`` draws on a terminal of that size, draw by draw."""
    pty, fcntl, termios = map(pytest.importorskip, ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    monkeypatch.delenv("COLUMNS", raising=False)
    found: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # Linux: the other end was closed
                return
            if not data:
                return
            found.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        work()
    reader.join()
    os.close(ours)
    return [draw for draw in b"".join(found).decode().split("\r") if draw.strip()]


def train() -> None:
    made = TinyTrainer({"num_epochs": 2}, [LossesRecorder(), AccuracyRecorder()], num_samples=40)
    made._screen = Progress(Clock(0.5))
    made.run()


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (24, 80), (1, 80), (50, 110), (50, 160)])
def test_every_terminal_shows_all_figures_on_one_line(monkeypatch, rows, columns):
    draws = on_terminal(monkeypatch, rows, columns, train)
    assert all(len(draw) < (columns or 80) for draw in draws)
    (*_, last) = [draw for draw in draws if "#2" in draw and draw.startswith("Train")]
    for part in ("loss 0.", "Acc ", "0:0", "8 samples/s", "lr 0.1"):
        assert part in last
    assert ("|" in last) == (columns >= 100)


def test_a_line_of_80_columns_has_everything():
    text = layout(LONG, 79)
    assert text == (
        "Train #12 36% loss 0.7211 Accuracy 38.92 eta 0:05 run 1:27:00 1834/s lr 0.00123"
    )
    assert len(text) == 79
    assert "1834 samples/s lr" in layout(LONG, 98)


def test_a_wide_line_has_words_and_a_bar():
    text = layout(LONG, 159, is_ascii=True)
    assert len(text) == 159
    assert text.startswith("Train Epoch #12:  36%|#####")
    assert text.endswith(
        "| 432/1200, loss 0.7211 Accuracy 38.92, 0:05 left, run 1:27:00, 1834 samples/s, lr 0.00123"
    )
    assert layout(LONG, 109, is_ascii=True).startswith("Train #12 36%|#####")


def test_parts_are_left_out_whole_and_never_cut():
    assert (
        layout(LONG, 70) == "Train #12 36% loss 0.7211 Accuracy 38.92 eta 0:05 run 1:27:00 1834/s"
    )
    assert layout(LONG, 62) == "Train #12 36% loss 0.7211 Accuracy 38.92 eta 0:05 run 1:27:00"
    assert layout(LONG, 13) == "Train #12 36%"
    assert layout(LONG, 5) == "Train"


def test_without_a_length_batches_are_counted():
    endless = Reading("Train Epoch #0", 7, 0, ("loss 0.7",), speed="12", lr=1e-5)
    assert layout(endless, 79) == "Train Epoch #0: 7 batches, loss 0.7, 12 samples/s, lr 1e-05"
    assert layout(endless, 40) == "Train #0 7 loss 0.7 12 samples/s lr 1e-5"


@given(
    st.text(max_size=20), st.integers(0, 9), st.integers(0, 5), st.integers(0, 200), st.booleans()
)
def test_no_line_is_too_long(name, number, total, columns, is_ascii):
    reading = Reading(f"Test  Epoch #1 {name}", number, total, (f"{name} 0.5",), "0:01", "", "9")
    assert _width(layout(reading, columns, is_ascii=is_ascii)) <= columns


def test_chinese_names_take_two_columns():
    reading = Reading("Test  Epoch #1", 1, 2, ("\u7cbe\u5ea6 0.5",))
    assert _width(layout(reading, 119)) == 119
    assert len(layout(reading, 119)) == 117


def test_the_variable_columns_counts_more_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert columns_of(None) == 119
    monkeypatch.setenv("COLUMNS", "0")
    assert columns_of(None) == 79


def test_a_log_line_stays_above_the_bar(monkeypatch, tmp_path: Path):
    from basetrainer.utils import log

    class Speaking(TinyTrainer):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                logger.warning("mine")

    logger = log.set_logger("mine")

    def work() -> None:
        made = Speaking({"num_epochs": 1}, [LossesRecorder()], num_samples=40)
        made._screen = Progress(Clock(1.0))
        made.run()

    draws = on_terminal(monkeypatch, 24, 80, work)
    (place,) = (n for n, draw in enumerate(draws) if "|WARNING| mine" in draw)
    assert draws[place - 1].startswith("Train #1")
    assert draws[place + 1].strip().startswith("Train #1")
