"""What the rounds found, as tables and a picture: medians with quartiles, against the raw loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from basetrainer.plots import canvas
from benchmarks.overhead.loops import LOOPS

SAME = 1e-5
"""How far apart, relative to the largest one, weights may be that count as the same."""

HEADER = (
    *("loop", "us a step", "us over raw", "by the wall clock", "times raw", "by the wall clock"),
    *("times by hand", "MB over raw", "same weights", "rounds"),
)
CPU, WALL = 0, 1


class Spread(NamedTuple):
    """A median and its quartiles."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Return that of some samples; of one, the sample itself."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(low, middle, high)

    def text(self, digits: int) -> str:
        """Return both as a cell of a table."""
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Summary:
    """One loop at one level: CPU time first, then the wall clock."""

    loop: str
    step: Spread
    over: tuple[Spread, Spread]
    ratio: tuple[Spread, Spread]
    memory: Spread
    apart: float
    rounds: int


def against_raw(found: dict[str, Any], clock: int) -> tuple[float, float, float]:
    """Return a process's median step, microseconds over raw, and ratio to raw.

    Each turn is set against the mean of the raw loop's before and after it.
    """
    steps = [turn[clock] for turn in found["loop"]]
    raw = [turn[clock] for turn in found["raw"]]
    pairs = [(step, (raw[i] + raw[i + 1]) / 2) for i, step in enumerate(steps)]
    return (
        statistics.median(steps),
        statistics.median(step - beside for step, beside in pairs),
        statistics.median(step / beside for step, beside in pairs),
    )


def summary(loop: str, results: Sequence[dict[str, Any]]) -> Summary:
    """Return what some processes found at one level."""
    cpu, wall = ([against_raw(one, clock) for one in results] for clock in (CPU, WALL))

    def both(column: int) -> tuple[Spread, Spread]:
        return Spread.of([one[column] for one in cpu]), Spread.of([one[column] for one in wall])

    return Summary(
        loop=loop,
        step=both(0)[CPU],
        over=both(1),
        ratio=both(2),
        memory=Spread.of([one["memory"] for one in results]),
        apart=max(one["apart"] for one in results),
        rounds=len(results),
    )


def summaries(
    results: Iterable[dict[str, Any]], case: str, level: str
) -> tuple[list[Summary], dict[str, str]]:
    """Return those of a case and level, the cheapest first, and the errors of loops without any."""
    good: dict[str, list[dict[str, Any]]] = {}
    errors: dict[str, str] = {}
    for one in results:
        loop, found = one["settings"]["loop"], one["found"].get(level)
        if one["settings"]["case"] != case or found is None:
            continue
        if "error" in found:
            errors[loop] = found["error"]
        else:
            good.setdefault(loop, []).append(found)
    rows = [summary(loop, some) for loop, some in good.items()]
    rows.sort(key=lambda row: row.ratio[CPU].middle)
    return rows, {loop: error for loop, error in errors.items() if loop not in good}


def table(
    rows: Sequence[Summary], errors: dict[str, str], name: Callable[[str], str]
) -> Iterable[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(HEADER)} |"
    yield "|---" * len(HEADER) + "|"
    by_hand = next((row.ratio[CPU].middle for row in rows if row.loop == "by_hand"), None)
    for row in rows:
        cells = (
            name(row.loop),
            f"{row.step.middle:.1f}",
            row.over[CPU].text(1),
            f"{row.over[WALL].middle:.1f}",
            row.ratio[CPU].text(3),
            f"{row.ratio[WALL].middle:.3f}",
            f"{row.ratio[CPU].middle / by_hand:.3f}" if by_hand else "",
            f"{row.memory.middle:.1f}",
            "yes" if row.apart <= SAME else f"no ({row.apart:.0e})",
            str(row.rounds),
        )
        yield f"| {' | '.join(cells)} |"
    for loop, error in errors.items():
        words = " ".join(error.replace("|", "/").split())[:120]
        yield f"| {name(loop)} | failed: {words} {'| ' * (len(HEADER) - 1)}"


def picture(panels: dict[str, Sequence[Summary]], name: Callable[[str], str], path: Path) -> None:
    """Draw microseconds over raw as bars, one panel for each level, and write a PNG file."""
    most = max(len(rows) for rows in panels.values())
    figure = canvas.new_figure(5.6 * len(panels), 1.0 + 0.3 * most)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        spreads = [row.over[CPU] for row in rows]
        middles = [one.middle for one in spreads]
        colours = ["#1f6feb" if LOOPS[row.loop].is_ours else "#b6bdc7" for row in rows]
        bars = axis.barh(range(len(rows)), middles, color=colours, height=0.7)
        around = [
            [one.middle - one.low for one in spreads],
            [one.high - one.middle for one in spreads],
        ]
        axis.errorbar(middles, range(len(rows)), xerr=around, fmt="none", ecolor="#57606a", lw=1)
        texts = [f"{one:+.0f}" for one in middles]
        axis.bar_label(bars, texts, padding=8, fontsize=9)
        axis.set_yticks(range(len(rows)), [canvas.plain_text(name(row.loop)) for row in rows])
        axis.invert_yaxis()
        axis.axvline(0, color="#57606a", lw=0.8)
        axis.margins(x=0.16)
        axis.set_title(title, fontsize=11)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    figure.supxlabel("Microseconds of CPU time a step, over the loop by hand", fontsize=10)
    canvas.save(figure, path)


def titles(loop: str, versions: dict[str, str]) -> str:
    """Return how a loop is called in tables and pictures."""
    called = LOOPS[loop].title or LOOPS[loop].distribution
    return f"{called} {versions[loop]}" if versions.get(loop) else called
