"""Profiler: a trace of a few training steps, and nothing after it."""

from __future__ import annotations

import json
import logging
import types
from pathlib import Path
from typing import Any

import pytest

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.profiler import Profiler, top_operations
from basetrainer.errors import ConfigError
from tests.tiny import TinyTrainer

QUIET = {"num_epochs": 1, "progress": False}


def traced(path: Path, name: str) -> int:
    events = json.loads(path.read_text())["traceEvents"]
    return sum(one.get("name", "").startswith(name) for one in events)


def traced_steps(path: Path) -> int:
    return traced(path, "ProfilerStep#")


def profiled(folder: Path, num_samples: int, **cfg: Any) -> TinyTrainer:
    cfg = {**QUIET, "work_dir": str(folder), **cfg}
    trainer = TinyTrainer(cfg, [LossesRecorder()], num_samples=num_samples)
    trainer.run()
    return trainer


def test_a_trace_of_the_steps_and_a_table_are_left(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        profiled(tmp_path, num_samples=40, profile_steps=3)
    (path,) = (tmp_path / "profile").iterdir()
    assert path.name == "trace-epoch000-step000004.json"
    assert traced_steps(path) == 3
    (told,) = [record.getMessage() for record in caplog.records if "profile" in record.getMessage()]
    assert told.startswith(f"profile of 3 steps in {path}")
    assert "aten::addmm" in told
    assert "ProfilerStep" not in told
    assert capfd.readouterr().err == ""


def test_the_evaluation_has_no_place_in_it(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        profiled(tmp_path, num_samples=24, profile_steps=30, num_epochs=2)  # 6 steps an epoch
    (path,) = (tmp_path / "profile").iterdir()
    assert traced(path, "aten::addmm") == 2
    assert "profile of 2 steps" in caplog.text


def test_a_warm_up_that_the_epochs_end_cut_short_is_repeated(tmp_path):
    profiled(tmp_path, num_samples=16, profile_steps=2, num_epochs=2)  # 4 steps an epoch
    (path,) = (tmp_path / "profile").iterdir()
    assert path.name.startswith("trace-epoch001-step000001")
    assert traced_steps(path) == 2


def test_epochs_that_are_too_short_are_said(tmp_path, caplog):
    profiled(tmp_path, num_samples=4, profile_steps=2, num_epochs=5)
    assert "profile_steps: no trace was written" in caplog.text
    assert not list((tmp_path / "profile").iterdir())


def test_it_goes_beside_the_log_where_there_is_one(tmp_path):
    cfg = {**QUIET, "profile_steps": 1, "work_dir": str(tmp_path / "work")}
    callbacks: list[Any] = [LossesRecorder(), LogHistory(tmp_path / "log")]
    TinyTrainer(cfg, callbacks, num_samples=40).run()
    assert len(list((tmp_path / "log" / "profile").iterdir())) == 1


def test_without_any_folder_it_is_the_current_one(tmp_path):
    TinyTrainer({**QUIET, "profile_steps": 1}, num_samples=40).run()
    assert len(list((tmp_path / "profile").iterdir())) == 1  # each test has a folder of its own


def test_a_failing_run_leaves_no_profiler_running(tmp_path):
    class Failing(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 6:
                raise ValueError("mine")

    trainer = TinyTrainer({**QUIET, "profile_steps": 9}, [Failing()], num_samples=40)
    with pytest.raises(ValueError, match="mine"):
        trainer.run()
    (path,) = (tmp_path / "profile").iterdir()
    assert traced_steps(path) >= 2
    TinyTrainer({**QUIET, "profile_steps": 2}, num_samples=40).run()


def test_other_ranks_write_nothing(tmp_path):
    class Other(Profiler):
        is_main_process = False

    TinyTrainer(QUIET, [Other(2, tmp_path / "p")], num_samples=40).run()
    assert not (tmp_path / "p").exists()


def test_a_profiler_of_the_users_own_is_not_doubled(tmp_path):
    own = Profiler(2, tmp_path / "mine")
    trainer = TinyTrainer({**QUIET, "profile_steps": 5}, [own], num_samples=40)
    assert [one for one in trainer.callbacks if isinstance(one, Profiler)] == [own]
    trainer.run()
    assert own.path is not None
    assert traced_steps(own.path) == 2


def test_zero_profiles_nothing_and_less_is_refused():
    assert not TinyTrainer({**QUIET, "profile_steps": 0}).callbacks
    with pytest.raises(ConfigError, match="profile_steps"):
        TinyTrainer({**QUIET, "profile_steps": -1})
    with pytest.raises(ConfigError, match="profile_steps"):
        Profiler(0)


def test_on_an_accelerator_the_times_of_its_kernels_count():
    def row(key: str, kind: str, host: float, device: float) -> Any:
        return types.SimpleNamespace(
            key=key,
            count=4,
            device_type=types.SimpleNamespace(name=kind),
            self_cpu_time_total=host,
            self_device_time_total=device,
        )

    averages = [
        row("aten::conv2d", "CPU", 100.0, 9000.0),
        row("aten::copy_" + "x" * 60, "CPU", 500.0, 1000.0),
        row("gemm_kernel", "CUDA", 0.0, 9000.0),
    ]
    lines = top_operations(averages, 2, on_device=True).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["aten::conv2d", "2.0", "4.500", "90.0%"]
    assert {len(line) for line in lines} == {78}
    silent = [row("aten::conv2d", "CPU", 100.0, 0.0)]
    assert "KINETO_LOG_LEVEL" in top_operations(silent, 2, on_device=True)
