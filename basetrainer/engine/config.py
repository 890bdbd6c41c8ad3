"""EngineConfig: the few keys of ``cfg`` that the engine itself reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from basetrainer.config import checks as c
from basetrainer.config.keys import declares_keys, key, read_keys
from basetrainer.distributed.strategy import STRATEGIES, StrategyName
from basetrainer.engine.stages import as_stages


@declares_keys
@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the engine reads from ``cfg``; every key has a default, so a short cfg trains."""

    num_epochs: int = key(1, c.COUNT, "Epochs to train.", "30", decides=False)
    progress: bool = key(True, c.SWITCH, "Whether to show progress bars, or lines.", decides=False)
    gpu_id: tuple[int, ...] | None = key(
        None, c.as_gpu_id, "Accelerators, one per process; null: those free.", "[0]", decides=False
    )
    log_freq: int = key(
        20, c.FROM_ZERO, "Steps between log points; 0: only the end of an epoch.", decides=False
    )
    seed: int = key(2020, c.FROM_ZERO, "Seed of all random sampling.")
    deterministic: bool = key(
        False, c.SWITCH, "Whether to use torch's deterministic algorithms.", decides="warn"
    )
    amp: Literal["bf16", "fp16", "auto"] | None = key(
        None, c.choice("bf16", "fp16", "auto"), "Mixed precision; auto: bf16 where computed in."
    )
    accumulate_steps: int = key(1, c.COUNT, "Micro-batches per optimizer step.")
    clip_grad_norm: float | None = key(None, c.POSITIVE, "Largest 2-norm of all gradients.")
    channels_last: bool = key(False, c.SWITCH, "Whether channels are last in memory.")
    keep_memory: bool = key(
        False, c.SWITCH, "Whether freed memory stays with the process (CPU, glibc).", decides=False
    )
    compile: bool = key(False, c.SWITCH, "Whether to use torch.compile.", decides="warn")
    steps_per_epoch: int | None = key(None, c.COUNT, "Cut any data, endless too, into epochs.")
    test_every: int = key(1, c.COUNT, "Epochs between evaluations; the last is always evaluated.")
    inference_mode: bool = key(
        True, c.SWITCH, "Evaluate in torch.inference_mode, else torch.no_grad.", decides=False
    )
    on_nonfinite: Literal["raise", "skip", "ignore"] = key(
        "raise", c.choice("raise", "skip", "ignore"), "What a NaN or infinite loss does."
    )
    max_skips: int = key(10, c.COUNT, "Updates in a row that on_nonfinite: skip may skip.")
    strategy: StrategyName = key(
        "auto", c.choice(*STRATEGIES), "How the model is spread over devices.", decides="warn"
    )
    unfreeze: tuple[dict[str, Any], ...] = key((), as_stages, "Layers that are thawed, and when.")
    ema_decay: float | None = key(
        None, c.FRACTION, "Decay per update of averaged weights, then tested and saved.", "0.999"
    )
    early_stop: int | None = key(
        None, c.COUNT, "Stop after so many evaluations without improvement.", decides="warn"
    )
    early_stop_indicator: str | None = key(
        None, c.TEXT, "Metric that must improve; null: ModelCheckpoint's.", "loss", decides="warn"
    )
    max_minutes: float | None = key(None, c.POSITIVE, "Stop after so many minutes.", decides=False)
    stall_limit: float | None = key(
        None, c.POSITIVE, "End a run in which nothing ends for so many seconds.", decides=False
    )
    profile_steps: int = key(
        0, c.FROM_ZERO, "Training steps in a torch.profiler trace.", decides=False
    )
    resume: str = key(
        "never", c.as_resume, "What run to resume; auto: that in work_dir.", "auto", decides=False
    )
    save_every_updates: int | None = key(
        None, c.COUNT, "Optimizer steps between checkpoints.", decides=False
    )
    save_every_epochs: int = key(
        1, c.FROM_ZERO, "Epochs between checkpoints; 0: only the last.", decides=False
    )
    save_every_minutes: float | None = key(
        None, c.POSITIVE, "Minutes between checkpoints.", decides=False
    )
    keep_last: int = key(2, c.COUNT, "How many of the newest checkpoints stay.", decides=False)
    keep_best: int = key(1, c.FROM_ZERO, "How many of the best checkpoints stay.", decides=False)
    async_save: bool = key(
        False, c.SWITCH, "Whether checkpoints are written while training continues.", decides=False
    )
    slim_lambda: float | None = key(
        None, c.POSITIVE, "Weight of the L1 penalty on BatchNorm scales (Slim).", "0.0001"
    )

    @classmethod
    def from_cfg(cls, cfg: Any) -> EngineConfig:
        """Pick the engine's keys out of ``cfg``; see :func:`~basetrainer.config.keys.read_keys`."""
        return read_keys(cls, cfg)
