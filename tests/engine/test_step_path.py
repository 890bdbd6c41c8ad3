"""Between two log points a step waits for no tensor's value, whatever is switched on."""

from __future__ import annotations

from typing import Any

import pytest

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.testing.host_reads import HostReads
from tests.tiny import TinyTrainer

CASES: dict[str, dict[str, Any]] = {
    "bare": {},
    "average": {"ema_decay": 0.9},
    "accumulation": {"accumulate_steps": 2},
    "bf16": {"amp": "bf16"},
    "resume": {"resume": "auto", "work_dir": "run"},
}


class Counter(Callback):
    """Looks at the steps between the log points at 10 and at 20 batches."""

    def __init__(self) -> None:
        super().__init__()
        self.found = HostReads()

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 12:
            self.found.__enter__()
        elif batch == 18:
            self.found.__exit__(None, None, None)


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_read_on_the_host_between_two_log_points(case, records):
    counter = Counter()
    recorders = (
        [LossesRecorder(), AccuracyRecorder(), LogHistory("log", 10, pictures=False)]
        if records
        else []
    )
    cfg = {"num_epochs": 1, "progress": False, "log_freq": 10, **CASES[case]}
    TinyTrainer(cfg, [counter, *recorders], num_samples=60, batch_size=2, tests=False).run()
    assert counter.found.num_ops > 6
    assert counter.found.reads == []
