"""Profiler: a torch.profiler trace of a few training steps."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.profiler import profile, schedule

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.config.settings import get
from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import create_dir

logger = logging.getLogger(__name__)

_SKIPPED = 3
"""Steps before the first one that is looked at: compilers, autotuners and caches warm up."""

_ROWS = 10


class Profiler(Callback):
    """Writes ``trace-epochEEE-stepSSSSSS.json``, for ui.perfetto.dev or chrome://tracing.

    It has ``num_steps`` steps, with the wait for their data; fewer if the epoch ends before, since
    an evaluation has no place in it. The log gets a table of the operations that took longest. Only
    rank 0 profiles. Afterwards a step costs nothing more.

    Args:
        num_steps: Training steps in the trace.
        folder: Where it goes; by default ``profile`` in the folder of the run's LogHistory, else in
            ``cfg.log_dir`` or ``cfg.work_dir``, else in the current folder.

    Raises:
        ConfigError: If ``num_steps`` is below 1, or when the run begins if the folder cannot be
            written.
    """

    def __init__(self, num_steps: int, folder: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        if num_steps < 1:
            raise ConfigError(f"profile_steps: {num_steps} must be at least 1 step.")
        self.num_steps = num_steps
        self.folder = folder
        self.path: Path | None = None
        self._num_seen = 0
        self._profile: profile | None = None
        self._is_done = not self.is_main_process

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Make the folder."""
        if not self._is_done:
            self.folder = create_dir(self.folder or self._default_folder())

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Start, once the first steps are over."""
        if self._is_done or self._profile is not None:
            return
        if self._num_seen >= _SKIPPED:
            epoch = self.engine.epoch if self.engine is not None else 0
            # The step that begins is the profiler's own warm-up and is not in the trace.
            name = f"trace-epoch{epoch:03d}-step{batch + 1:06d}.json"
            self.path = Path(self.folder or ".", name)
            with _quiet():
                plan = schedule(wait=0, warmup=1, active=self.num_steps, repeat=1)
                self._profile = profile(schedule=plan, on_trace_ready=self._write)
                self._profile.start()
        self._num_seen += 1

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Close the step."""
        if self._profile is not None:
            with _quiet():
                self._profile.step()
            if self._is_done:
                self._stop()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Stop at the end of an epoch's training; a warm-up that it cut short is repeated."""
        self._stop()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Stop, and say so if there was nothing to profile."""
        self._stop()
        if not self._is_done:
            logger.warning(
                "profile_steps: no trace was written. It needs an epoch with two steps or more "
                "after the first %d steps of the run.",
                _SKIPPED,
            )

    def on_exception(self, error: BaseException, logs: Logs | None = None) -> None:
        """Write what was recorded so far."""
        self._stop()

    def _stop(self) -> None:
        running, self._profile = self._profile, None
        if running is not None:
            with _quiet():
                running.stop()

    def _default_folder(self) -> Path:
        engine = self.engine
        if engine is None:
            return Path("profile")
        for callback in engine.callbacks:
            if isinstance(callback, LogHistory):
                return callback.log_dir / "profile"
        return Path(get(engine.cfg, "log_dir") or get(engine.cfg, "work_dir") or ".", "profile")

    def _write(self, finished: profile) -> None:
        """Write the trace, and log the table."""
        num_steps = finished.step_num - 1  # the first one was the warm-up
        if num_steps < 1 or self.path is None:
            return
        self._is_done = True
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        finished.export_chrome_trace(str(temporary))
        temporary.replace(self.path)
        has_device = self.engine is not None and self.engine.device.type != "cpu"
        logger.info(
            "profile of %d steps in %s (open it in ui.perfetto.dev)\n%s",
            num_steps,
            self.path,
            top_operations(finished.key_averages(), num_steps, on_device=has_device),
        )


def top_operations(averages: Any, num_steps: int, *, on_device: bool) -> str:
    """Return a table of the operations that took longest by themselves.

    Args:
        averages: What ``key_averages()`` of the profiler returned.
        num_steps: Steps in it.
        on_device: Whether the accelerator's time counts, and not the host's.
    """
    which = "self_device_time_total" if on_device else "self_cpu_time_total"
    # Operators only: a kernel's time is in the row of the operator that launched it.
    rows = [
        (getattr(one, which) / 1e3, one.count, one.key)
        for one in averages
        if one.device_type.name == "CPU" and not one.key.startswith("ProfilerStep")
    ]
    total = sum(milliseconds for milliseconds, _, _ in rows)
    if not total:
        return "no operation was recorded; the variable KINETO_LOG_LEVEL=0 makes torch say why"
    lines = [f"{'operation':48}{'calls/step':>12}{'ms/step':>10}{'share':>8}"]
    for milliseconds, calls, name in sorted(rows, reverse=True)[:_ROWS]:
        short = name if len(name) <= 48 else f"{name[:45]}..."
        each, share = milliseconds / num_steps, milliseconds / total
        lines.append(f"{short:48}{calls / num_steps:>12.1f}{each:>10.3f}{share:>8.1%}")
    return "\n".join(lines)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the profiler's remarks off the screen: they are for its authors."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # read when it is first started
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
