"""The progress bar: one line that fits where it stands, placed by tqdm."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width

_COLUMNS = 80
"""Of a terminal that does not tell its width, or says 0: a pipe's or a container's."""

_COLUMNS_FOR_WORDS, _COLUMNS_FOR_A_BAR, _LEAST_BAR = 119, 99, 8
"""Thresholds of the layout; the terminal decides, not the text, lest it change with the figures."""

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
_BAR_OF_UNKNOWN_LENGTH = "{desc}: {n_fmt} batches{postfix}"


@dataclass(frozen=True)
class Reading:
    """What a bar or a line shows of a pass; empty or None where it is not known.

    Attributes:
        title: Of the pass.
        number: Batches so far.
        total: Batches in all; 0 if that is not known.
        figures: Names and values.
        left: Time left of the pass.
        run: Time left of the run.
        speed: Samples per second.
        lr: The learning rate.
    """

    title: str
    number: int
    total: int
    figures: tuple[str, ...] = ()
    left: str = ""
    run: str = ""
    speed: str = ""
    lr: float | None = None

    @property
    def count(self) -> str:
        """How far it is, in batches."""
        return f"{self.number}/{self.total}" if self.total else f"{self.number} batches"

    def parts(self) -> list[str]:
        """Return figures, remaining time, speed and lr, in words."""
        found = [
            " ".join(self.figures),
            self.left and f"{self.left} left",
            self.run and f"run {self.run}",
            self.speed and f"{self.speed} samples/s",
            "" if self.lr is None else f"lr {self.lr:.3g}",
        ]
        return [part for part in found if part]

    def short_parts(self) -> list[str]:
        """Return the same where there is little room."""
        found = [
            " ".join(self.figures),
            self.left and f"eta {self.left}{self.run and f' run {self.run}'}",
            self.speed and f"{self.speed} samples/s",
            "" if self.lr is None else f"lr {self.lr:.3g}".replace("e-0", "e-"),
        ]
        return [part for part in found if part]


def layout(reading: Reading, columns: int, *, is_ascii: bool = False) -> str:
    """Return the line for a terminal: in words and with a bar where there is room, else short.

    Where even that is too long ``samples/s`` becomes ``/s``, then whole parts are left out, the
    last ones first.

    Args:
        reading: What is known.
        columns: How long the line may be.
        is_ascii: Whether the bar must do without block characters.
    """
    short, parts = _short(reading.title), reading.short_parts()
    if not reading.total:
        texts = [", ".join([f"{reading.title}: {reading.count}", *reading.parts()])]
        head = f"{short} {reading.number}"
    else:
        share = min(reading.number / reading.total, 1.0)
        head = f"{short} {share:.0%}"
        tail = ", ".join([reading.count, *reading.parts()])
        texts = [
            _with_bar(share, left, right, columns, is_ascii)
            for least, left, right in (
                (_COLUMNS_FOR_WORDS, f"{reading.title}: {share:4.0%}", tail),
                (_COLUMNS_FOR_A_BAR, head, " ".join(parts)),
            )
            if columns >= least
        ]
    texts.append(" ".join([head, *parts]))
    parts = [part.replace(" samples/s", "/s") for part in parts]
    texts += [" ".join([head, *parts[:number]]) for number in range(len(parts), -1, -1)]
    while _width(head) > columns:
        head = head[:-1]
    return next((text for text in texts if 0 < _width(text) <= columns), head)


def _with_bar(share: float, left: str, right: str, columns: int, is_ascii: bool) -> str:
    """Return texts with a bar between them that fills the line; "" if there is no room for it."""
    room = columns - _width(left) - _width(right) - len("|| ")
    if room < _LEAST_BAR:
        return ""
    bar: Any = importlib.import_module("tqdm.std").Bar
    return f"{left}|{bar(share, room, charset=bar.ASCII if is_ascii else bar.UTF)}| {right}"


def columns_of(stream: Any) -> int:
    """Return how many columns a line on ``stream`` may have without a wrap."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 1:
        return int(columns) - 1
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        found = 0
    return (found if found > 1 else _COLUMNS) - 1


def can_draw() -> bool:
    """Whether a bar can be redrawn here: on a terminal, or as a widget in a notebook."""
    if _in_notebook():  # without widgets tqdm warns and leaves old lines: lines are better
        return "ipywidgets" in sys.modules or importlib.util.find_spec("ipywidgets") is not None
    return sys.stderr is not None and sys.stderr.isatty()


class Bar:
    """A bar on the terminal, or a widget in a notebook.

    Args:
        reading: What it shows first.
    """

    def __init__(self, reading: Reading) -> None:
        self._bar = _new_widget(reading) if _in_notebook() else _new_line(reading)

    def draw(self, reading: Reading) -> None:
        """Show another reading."""
        self._bar.show(reading)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def _new_line(reading: Reading) -> Any:
    tqdm: Any = importlib.import_module("tqdm").tqdm

    class Line(tqdm):  # type: ignore[misc]
        """A line that only we redraw: tqdm's own thread would not mix with starting processes."""

        monitor_interval = 0
        reading: Reading

        def __str__(self) -> str:
            return layout(self.reading, columns_of(self.fp), is_ascii=bool(self.ascii))

        def show(self, reading: Reading) -> None:
            self.reading = reading
            self.refresh()

    Line.reading = reading  # creating it draws it
    # tqdm hides bars below the last row, and all of them where a terminal says it has none.
    return Line(total=reading.total or None, leave=False, ncols=_COLUMNS, nrows=20)


def _new_widget(reading: Reading) -> Any:
    tqdm: Any = importlib.import_module("tqdm.auto").tqdm

    class Widget(tqdm):  # type: ignore[misc]
        """A widget that only we redraw."""

        monitor_interval = 0

        def show(self, reading: Reading) -> None:
            self.n = reading.number
            self.set_postfix_str(", ".join(reading.parts()), refresh=False)
            self.refresh()

    return Widget(
        desc=reading.title,
        total=reading.total or None,
        leave=False,
        dynamic_ncols=True,
        bar_format=_BAR if reading.total else _BAR_OF_UNKNOWN_LENGTH,
    )


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _short(title: str) -> str:
    return " ".join(title.replace("Epoch ", "").split())


def _width(text: str) -> int:
    """Return how many columns a text takes; Chinese characters take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
