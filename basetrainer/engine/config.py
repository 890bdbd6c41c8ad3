"""EngineConfig: the few keys of ``cfg`` that the engine itself reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from basetrainer.config import checks as c
from basetrainer.config.keys import declares_keys, key, read_keys
from basetrainer.distributed.strategy import STRATEGIES, StrategyName


@declares_keys
@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the engine reads from ``cfg``; every key has a default, so a short cfg trains."""

    num_epochs: int = key(1, c.COUNT, "Epochs to train.", "30", decides=False)
    progress: bool = key(
        True,
        c.SWITCH,
        "Whether to show progress bars; without them, and without a terminal, there are lines.",
        decides=False,
    )
    gpu_id: tuple[int, ...] | None = key(
        None,
        c.as_gpu_id,
        "Accelerators to use, one per process; null means the first free to each process. Without "
        "accelerators their number is the number of processes when distributed.",
        "[0]",
        decides=False,
    )
    log_freq: int = key(
        20,
        c.FROM_ZERO,
        "Steps between two log points, where tensors may be read on the host; 0 means only at the "
        "end of an epoch.",
        "50",
        decides=False,
    )
    seed: int = key(2020, c.FROM_ZERO, "Seed of all random sampling.")
    deterministic: bool = key(
        False,
        c.SWITCH,
        "Whether to use torch's deterministic algorithms; bit-equality on a GPU needs them.",
        decides="warn",
    )
    amp: Literal["bf16", "fp16", "auto"] | None = key(
        None,
        c.choice("bf16", "fp16", "auto"),
        "Mixed precision: bfloat16, or float16 with a gradient scaler; auto is bfloat16 where the "
        "device computes in it, else none.",
    )
    accumulate_steps: int = key(1, c.COUNT, "Micro-batches per optimizer step.")
    clip_grad_norm: float | None = key(
        None, c.POSITIVE, "Largest allowed 2-norm of all gradients together.", "1.0"
    )
    channels_last: bool = key(
        False, c.SWITCH, "Whether images and weights are laid out with the channels last."
    )
    keep_memory: bool = key(
        False,
        c.SWITCH,
        "Whether freed memory stays with the process where the step runs on the CPU (glibc): fewer "
        "page faults, and the most that was ever needed is kept.",
        decides=False,
    )
    compile: bool = key(
        False, c.SWITCH, "Whether the model is compiled with torch.compile.", decides="warn"
    )
    steps_per_epoch: int | None = key(
        None,
        c.COUNT,
        "Cut any data, endless data too, into epochs of so many steps; the data continues across "
        "epochs.",
    )
    test_every: int = key(
        1, c.COUNT, "Epochs between evaluations; the last epoch is always evaluated."
    )
    inference_mode: bool = key(
        True,
        c.SWITCH,
        "Whether evaluations run in torch.inference_mode; else in torch.no_grad, for a model that "
        "keeps tensors of an evaluation and trains with them.",
        decides=False,
    )
    on_nonfinite: Literal["raise", "skip", "ignore"] = key(
        "raise",
        c.choice("raise", "skip", "ignore"),
        "When a loss is NaN or infinite: raise at the next log point and before anything is saved, "
        "skip the update, or ignore it.",
    )
    max_skips: int = key(10, c.COUNT, "How many updates in a row on_nonfinite: skip may skip.")
    strategy: StrategyName = key(
        "auto",
        c.choice(*STRATEGIES),
        "How the model is spread: one device, DataParallel, DistributedDataParallel, or in parts "
        "over the processes (FSDP2).",
        decides="warn",
    )
    ema_decay: float | None = key(
        None,
        c.FRACTION,
        "Decay per update of an averaged copy of the weights, which is then tested and saved.",
        "0.999",
    )
    early_stop: int | None = key(
        None, c.COUNT, "Stop after so many evaluations without improvement.", "5", decides="warn"
    )
    early_stop_indicator: str | None = key(
        None,
        c.TEXT,
        "The metric that must improve; by default that of ModelCheckpoint.",
        "loss",
        decides="warn",
    )
    max_minutes: float | None = key(None, c.POSITIVE, "Stop after so many minutes.", decides=False)
    stall_limit: float | None = key(
        None,
        c.POSITIVE,
        "End a run that does nothing for so many seconds, and print where each process is; a step, "
        "a hook, a wait for data or a save that takes longer counts as nothing.",
        decides=False,
    )
    profile_steps: int = key(
        0,
        c.FROM_ZERO,
        "Write a torch.profiler trace of so many training steps; 0 writes none.",
        decides=False,
    )
    resume: str = key(
        "never",
        c.as_resume,
        "auto resumes the run in work_dir if there is one, a path that run (its folder, or one of "
        "its checkpoints); never trains afresh and writes no checkpoints.",
        "auto",
        decides=False,
    )
    save_every_updates: int | None = key(
        None, c.COUNT, "Optimizer steps between two checkpoints.", decides=False
    )
    save_every_epochs: int = key(
        1,
        c.FROM_ZERO,
        "Epochs between two checkpoints; 0 means none but the last.",
        decides=False,
    )
    save_every_minutes: float | None = key(
        None, c.POSITIVE, "Minutes between two checkpoints.", decides=False
    )
    keep_last: int = key(2, c.COUNT, "How many of the newest checkpoints stay.", decides=False)
    keep_best: int = key(
        1,
        c.FROM_ZERO,
        "How many of the best checkpoints stay, by ModelCheckpoint's indicator.",
        decides=False,
    )
    async_save: bool = key(
        False,
        c.SWITCH,
        "Whether checkpoints are copied in memory and written while training continues.",
        decides=False,
    )
    slim_lambda: float | None = key(
        None,
        c.POSITIVE,
        "Weight of an L1 penalty on the scales of BatchNorms, for pruning by them (Slim).",
        "0.0001",
    )

    @classmethod
    def from_cfg(cls, cfg: Any) -> EngineConfig:
        """Pick the engine's keys out of ``cfg``; see :func:`~basetrainer.config.keys.read_keys`."""
        return read_keys(cls, cfg)
