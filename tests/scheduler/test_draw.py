"""The learning rates of a run as a list, and as a picture."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from basetrainer.errors import ConfigError, MissingExtraError
from basetrainer.scheduler import classic
from basetrainer.scheduler.build_scheduler import get_scheduler
from basetrainer.scheduler.draw import draw_lr, lr_curve


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)


def test_a_curve_has_one_learning_rate_per_update_and_touches_nothing() -> None:
    optimizer = sgd()
    scheduler = get_scheduler("linear", optimizer, 0.1, 3, 4)
    curve = lr_curve(scheduler)
    assert curve == [scheduler.lr_at(epoch, step) for epoch in range(3) for step in range(4)]
    assert len(lr_curve(scheduler, accumulate_steps=3)) == 6
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_curve_of_unknown_length_asks_for_it() -> None:
    scheduler = classic.WarmUpLR(sgd(), 2, 0.1, 1)
    assert len(lr_curve(scheduler, 3)) == 6
    with pytest.raises(ConfigError, match="WarmUpLR does not know how long the run is"):
        lr_curve(scheduler)


@pytest.mark.parametrize("log_scale", [False, True])
def test_curves_are_drawn_into_one_picture(tmp_path: Path, log_scale: bool) -> None:
    pytest.importorskip("matplotlib")
    curves = {
        name: lr_curve(get_scheduler(name, sgd(), 0.1, 5, 4)) for name in ("linear", "cosine")
    }
    path = draw_lr(curves, tmp_path / "new" / "lr.png", updates_per_epoch=4, log_scale=log_scale)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.partition(".")[0])

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[plots\]'"):
        draw_lr({"lr": [0.1]}, tmp_path / "lr.png")
