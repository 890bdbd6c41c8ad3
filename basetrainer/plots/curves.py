"""Curves: losses, metrics and learning rate over the epochs, of one run or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basetrainer._epochs import epoch_number
from basetrainer._optional import require
from basetrainer.plots.canvas import new_figure, plain_text
from basetrainer.plots.history import LEARNING_RATE, PART, History, Points

_TRAIN = {"linestyle": (0, (4, 2)), "linewidth": 1.3}
_TEST = {"linestyle": "-", "linewidth": 1.7}
_GREY = "0.45"
_FEW = 40
"""Up to how many epochs each point is marked."""

_MOST_BELOW = 24
"""Names of parts below each other in a panel's legend."""

_WIDTH, _HEIGHT = 4.2, 3.0  # of a panel, in inches


def draw_curves(runs: Sequence[History]) -> Any:
    """Draw one panel per metric; training is dashed, the test is solid. Epochs count from 1.

    Of one run, each test set has its colour, parts of a metric (an IoU per class, several losses)
    have theirs in its panel, and a dotted line marks the best epoch. Of several, each run has its
    colour, each test set and each part its panels, and a star marks a run's best epoch.

    Args:
        runs: At least one.

    Returns:
        A matplotlib figure.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    is_alone = len(runs) == 1
    panels = [
        _by_test_set(run.panels(), only_parts=True)
        if is_alone
        else _by_part(_by_test_set(run.panels()))
        for run in runs
    ]
    titles = list(dict.fromkeys(title for one in panels for title in one))
    titles.sort(key=LEARNING_RATE.__eq__)  # stable: it alone moves, to the end
    rows, columns = _grid(len(titles))
    width = max(_WIDTH * columns, 6.0)
    figure = new_figure(width, _HEIGHT * rows + 0.7)
    legend: dict[str, Any] = {}
    for number, title in enumerate(titles, 1):
        axes = figure.add_subplot(rows, columns, number)
        if is_alone:
            _draw_one(axes, runs[0], panels[0][title], legend)
        else:
            for place, (run, lines) in enumerate(zip(runs, panels, strict=True)):
                _draw_one_of_several(axes, run, lines.get(title, {}), f"C{place % 10}", legend)
        _dress(axes, title)
    names = [plain_text(name) for name in legend]
    most = max(1, int(width / (0.7 + 0.085 * max(map(len, names), default=1))))
    # As many in each row as possible, and the rows of equal length.
    beside = -(-len(names) // -(-len(names) // most)) if names else 1
    figure.legend(legend.values(), names, loc="outside lower center", ncols=beside, frameon=False)
    about = runs[0].name if is_alone else f"{len(runs)} runs, dashed: training, solid: test"
    figure.suptitle(plain_text(about))
    return figure


def _draw_one(axes: Any, run: History, lines: dict[str, Points], legend: dict[str, Any]) -> None:
    """Draw the lines of the only run; colours are those of the test sets, or of the parts."""
    tests = [name for name in lines if name.startswith("test")]
    parts = list(dict.fromkeys(name.partition(PART)[2] for name in lines))
    has_parts = parts != [""]
    shown: dict[str, Any] = {}
    for name, points in lines.items():
        phase, _, part = name.partition(PART)
        if has_parts:
            handle = _line(axes, phase, points, _color(parts.index(part), len(parts)))
            shown[part or phase] = handle  # of a test, if there is one: it comes later
            style = _TRAIN if phase == "train" else _TEST
            (handle,) = axes.plot([], [], color=_GREY, **style)
        else:
            color = f"C{tests.index(name) % 10}" if name in tests else _GREY
            handle = _line(axes, name, points, color)
        if name != LEARNING_RATE and not (has_parts and phase in legend):
            legend[phase] = handle
    if has_parts:
        _name_parts(axes, shown)
    best = run.best()
    if best is not None:
        number = epoch_number(best[0])
        handle = axes.axvline(number, color="C2", linestyle=":", linewidth=1.5, zorder=0)
        legend.setdefault(f"best epoch {number} ({run.indicator} {best[1]:.4g})", handle)


def _draw_one_of_several(
    axes: Any, run: History, lines: dict[str, Points], color: str, legend: dict[str, Any]
) -> None:
    """Draw the lines of one of several runs, all in its colour."""
    best = run.best()
    told = f": best {run.indicator} {best[1]:.4g}, epoch {epoch_number(best[0])}" if best else ""
    for name, points in lines.items():
        handle = _line(axes, name, points, color)
        if name != "train" or len(lines) == 1:
            legend.setdefault(f"{run.name}{told}", handle)
        if name == "test" and best is not None and best in list(zip(*points, strict=True)):
            place = epoch_number(best[0]), best[1]
            axes.plot(*place, marker="*", markersize=12, color=color, markeredgecolor="black")


def _line(axes: Any, name: str, points: Points, color: Any) -> Any:
    style = _TRAIN if name == "train" else _TEST
    marker = {"marker": ".", "markersize": 5} if len(points[0]) <= _FEW else {}
    numbers = [epoch_number(epoch) for epoch in points[0]]
    (handle,) = axes.plot(numbers, points[1], color=color, **style, **marker)
    return handle


def _color(place: int, count: int) -> Any:
    """Return the colour of one of so many parts."""
    if count <= 10:
        return f"C{place}"
    colormaps = require("matplotlib", extra="plots", needed_by="Drawing a picture").colormaps
    return colormaps["tab20" if count <= 20 else "turbo"](place if count <= 20 else place / count)


def _name_parts(axes: Any, handles: dict[str, Any]) -> None:
    """Write the legend of a panel's parts: within it if they are few, else beside it."""
    few = len(handles) <= 4
    where = {"loc": "best"} if few else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    names = [plain_text(name) for name in handles]
    columns = -(-len(names) // _MOST_BELOW)
    size = 8 if len(names) <= _MOST_BELOW / 2 else 6
    axes.legend(
        handles.values(),
        names,
        fontsize=size,
        ncols=columns,
        framealpha=0.6,
        labelspacing=0.2,
        **where,
    )


def _by_test_set(
    panels: dict[str, dict[str, Points]], *, only_parts: bool = False
) -> dict[str, dict[str, Points]]:
    """Return the panels so that each has one test set, since colours tell the run, or the part.

    Args:
        panels: By title.
        only_parts: Leave those alone that have no parts.
    """
    found: dict[str, dict[str, Points]] = {}
    for title, lines in panels.items():
        names = [name.partition(PART)[0] for name in lines]
        sets = list(dict.fromkeys(name for name in names if name.startswith("test ")))
        if not sets or (only_parts and not any(PART in name for name in lines)):
            found[title] = lines
            continue
        others = {name: points for name, points in lines.items() if not name.startswith("test ")}
        for one in sets:
            mine = {
                name: points for name, points in lines.items() if name.partition(PART)[0] == one
            }
            renamed = {f"test{name[len(one) :]}": points for name, points in mine.items()}
            found[f"{title} ({one[5:]})"] = {**others, **renamed}
    return found


def _by_part(panels: dict[str, dict[str, Points]]) -> dict[str, dict[str, Points]]:
    """Return the panels so that each has one part, since colours tell the run."""
    found: dict[str, dict[str, Points]] = {}
    for title, lines in panels.items():
        for name, points in lines.items():
            line, mark, part = name.partition(PART)
            found.setdefault(f"{title}{mark}{part}", {})[line] = points
    return found


def _grid(count: int) -> tuple[int, int]:
    """Return rows and columns for so many panels."""
    columns = {4: 2}.get(count, min(count, 3) if count <= 9 else 4)
    return -(-count // columns), columns


def _dress(axes: Any, title: str) -> None:
    """Give a panel its title, scales and grid."""
    axes.set_title(plain_text(title), fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    first, last = axes.dataLim.intervalx
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
    low, high = axes.dataLim.intervaly
    if "loss" in title.lower() and 0 < 50 * low < high:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    elif title == LEARNING_RATE:
        axes.set_ylim(bottom=0.0)
