"""Draw the classes and the hooks of a run into docs/assets/structure.png, as the README shows them.

    python -m docs.make_structure

Both are read off the code: the classes with their bases, the order of the hooks from what
``trainer.explain()`` prints, which a test compares with a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import basetrainer as bt
from basetrainer.engine.base import HOOKS, Base
from basetrainer.engine.preflight.explain import ORDER
from basetrainer.engine.step import Step
from basetrainer.plots.canvas import new_figure, save
from basetrainer.scheduler.scheduler import LRScheduler

PATH = Path(__file__).parent / "assets" / "structure.png"
BUILDERS = ("train_loader", "test_loader", "model", "criterion", "optimizer", "callbacks")
JOBS: dict[type, str] = {
    Base: "hears the hooks",
    Step: "one batch: run_step, update",
    bt.Engine: "the loop: epochs, batches, tests",
    bt.EngineTrainer: "builds itself: build_*",
    bt.Callback: "a part that listens",
}
"""The classes that others are made of, and what each is for."""

LISTENERS: tuple[type, ...] = (
    bt.LossesRecorder,
    bt.AccuracyRecorder,
    LRScheduler,
    bt.LogHistory,
    bt.EMA,
    bt.ModelCheckpoint,
)
INK, OURS, YOURS, LINE = "#1f2933", "#e4ecf7", "#fde8c8", "#8896a6"


def parent(kind: type) -> type | None:
    """Return the nearest base of a class that is in the picture."""
    return next((base for base in kind.__mro__[1:] if base in JOBS), None)


def steps() -> list[tuple[int, str, str]]:
    """Return depth, text and kind (``hook``, ``work`` or ``loop``) of each line of a run."""
    found = []
    for line in ORDER.strip("\n").splitlines():
        name = line.strip()
        kind = "loop" if name.endswith(":") else "hook" if name in HOOKS else "work"
        found.append(((len(line) - len(line.lstrip())) // 4, name, kind))
    return found


def box(axes: Any, x: float, y: float, lines: tuple[str, str], color: str) -> None:
    """Draw a class: its name, and below it what it is for."""
    from matplotlib.patches import FancyBboxPatch

    style = {"boxstyle": "round,pad=0,rounding_size=0.12", "linewidth": 1.0}
    axes.add_patch(
        FancyBboxPatch((x, y), 3.5, 0.84, facecolor=color, edgecolor=LINE, **style)  # type: ignore[arg-type]
    )
    axes.text(x + 1.75, y + 0.57, lines[0], weight="bold", size=9.5, ha="center", va="center")
    axes.text(x + 1.75, y + 0.24, lines[1], size=7.8, ha="center", va="center")


def draw_classes(axes: Any) -> None:
    """Draw the tree of classes, the user's own last."""
    places: dict[type, tuple[float, float]] = {}
    trunk = [kind for kind in JOBS if issubclass(bt.EngineTrainer, kind)]
    for level, kind in enumerate(trunk):
        places[kind] = (0.2, 8.9 - 1.45 * level)
    places[bt.Callback] = (5.0, 8.9 - 1.45)
    for kind, (x, y) in places.items():
        box(axes, x, y, (kind.__name__, JOBS[kind]), OURS)
        base = parent(kind)
        if base is not None:
            arrow(axes, (x, y), places[base])
    mine = (0.2, 8.9 - 1.45 * len(trunk))
    box(axes, *mine, ("YourTrainer", "the six build_* methods"), YOURS)
    arrow(axes, mine, places[trunk[-1]])
    text = "\n".join(f"build_{name}" for name in BUILDERS)
    axes.text(0.5, mine[1] - 0.2, text, size=8.4, family="monospace", va="top", linespacing=1.45)
    names = [kind.__name__ for kind in LISTENERS if parent(kind) is bt.Callback]
    x, y = places[bt.Callback]
    axes.text(x + 0.3, y - 0.25, "\n".join(names), size=8.8, va="top", linespacing=1.5)
    own = (x, y - 4.35)
    box(axes, *own, ("YourCallback", "any hook"), YOURS)
    axes.plot([x + 0.08] * 2, [own[1] + 0.84, y], color=LINE, linewidth=1.2)


def arrow(axes: Any, low: tuple[float, float], high: tuple[float, float]) -> None:
    """Draw a line from a class to its base."""
    start = (low[0] + 1.75, low[1] + 0.84)
    end = (high[0] + 1.75, high[1]) if low[0] == high[0] else (high[0] + 3.5, high[1] + 0.42)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": LINE})


def draw_hooks(axes: Any) -> None:
    """List what is called, in its order, hooks marked."""
    colors = {"hook": "#1a5fb4", "work": "#a1520a", "loop": INK}
    lines = steps()
    for number, (depth, text, kind) in enumerate(lines):
        y = 9.6 - 9.3 * number / (len(lines) - 1)
        style = {"family": "monospace", "size": 9.6, "color": colors[kind], "va": "center"}
        weight = "bold" if kind == "hook" else "normal"
        axes.text(0.3 + 0.62 * depth, y, text, weight=weight, **style)
    for x, (kind, text) in zip(
        (0.3, 1.9), (("hook", "hook"), ("work", "the engine's work")), strict=True
    ):
        axes.text(x, -0.45, text, color=colors[kind], size=8.5, weight="bold")


def main() -> None:
    """Draw the picture, and print its size."""
    figure = new_figure(8.2, 5.2)
    parts = (("Classes", draw_classes, 8.8), ("One run", draw_hooks, 6.2))
    for axes, (title, draw, width) in zip(
        figure.subplots(1, 2, width_ratios=(8.8, 6.2)), parts, strict=True
    ):
        axes.set(xlim=(0, width), ylim=(-0.7, 10.0))
        axes.axis("off")
        axes.set_title(title, loc="left", size=11, weight="bold", color=INK)
        draw(axes)
    path = save(figure, PATH)
    print(f"{path.name}: {path.stat().st_size / 1000:.1f} KB")


if __name__ == "__main__":
    main()
