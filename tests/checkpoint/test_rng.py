"""The generators' states come back as they were."""

from __future__ import annotations

import io
import random

import numpy as np
import torch

from basetrainer.checkpoint.rng import rng_state, set_rng_state
from basetrainer.checkpoint.tree import check_tree

CPU = torch.device("cpu")


def draw() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(())),
    ]


def test_what_is_drawn_after_a_restore_is_what_was_drawn_after_the_save():
    draw()  # so that both Gaussian generators hold a second number back
    state = rng_state(CPU)
    check_tree(state, "rng")
    file = io.BytesIO()
    torch.save(state, file)
    first = [draw(), draw()]
    file.seek(0)
    set_rng_state(torch.load(file, weights_only=True), CPU)
    assert [draw(), draw()] == first
