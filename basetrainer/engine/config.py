"""EngineConfig: the few keys of ``cfg`` that the engine itself reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from basetrainer.distributed.strategy import STRATEGIES, StrategyName
from basetrainer.config.settings import get, origin_of
from basetrainer.config.keys import as_bool, as_choice, as_float, as_int, check_key


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the engine reads from ``cfg``; every key has a default, so a short cfg trains."""

    num_epochs: int = 1
    """Epochs to train."""

    progress: bool = True
    """Whether to show progress bars; without them, and without a terminal, there are lines."""

    gpu_id: tuple[int, ...] | None = None
    """Accelerators to use, one per process; None means the first free to each process. Without
    accelerators their number is the number of processes when distributed."""

    log_freq: int = 20
    """Steps between two log points, where tensors may be read on the host; 0 means only at the
    end of an epoch."""

    seed: int = 2020
    """Seed of everything that is drawn."""

    deterministic: bool = False
    """Whether to use torch's deterministic algorithms; bit-equality on a GPU needs them."""

    amp: Literal["bf16", "fp16", "auto"] | None = None
    """Mixed precision: bfloat16, or float16 with a gradient scaler; ``auto`` is bfloat16 where the
    device computes in it, else none."""

    accumulate_steps: int = 1
    """Micro-batches per optimizer step."""

    clip_grad_norm: float | None = None
    """Largest allowed 2-norm of all gradients together."""

    channels_last: bool = False
    """Whether images and weights are laid out with the channels last."""

    keep_memory: bool = False
    """Whether freed memory stays with the process where the step runs on the CPU (glibc): fewer
    page faults, and the most that was ever needed is kept."""

    compile: bool = False
    """Whether the model is compiled with ``torch.compile``."""

    steps_per_epoch: int | None = None
    """Cut any data, endless data too, into epochs of so many steps; the data goes on across
    epochs."""

    test_every: int = 1
    """Epochs between evaluations; the last epoch is always evaluated."""

    inference_mode: bool = True
    """Whether evaluations run in ``torch.inference_mode``; else in ``torch.no_grad``, for a model
    that keeps tensors of an evaluation and trains with them."""

    on_nonfinite: Literal["raise", "skip", "ignore"] = "raise"
    """When a loss is NaN or infinite: raise at the next log point and before anything is saved,
    skip the update, or go on."""

    max_skips: int = 10
    """With ``on_nonfinite: skip``: how many updates in a row may be skipped."""

    strategy: StrategyName = "auto"
    """How the model is spread: one device, DataParallel, DistributedDataParallel, or in parts over
    the processes (FSDP2)."""

    ema_decay: float | None = None
    """Decay per update of an averaged copy of the weights, which is then tested and saved."""

    early_stop: int | None = None
    """Stop after so many evaluations without improvement."""

    early_stop_indicator: str | None = None
    """The figure that must improve; by default that of ModelCheckpoint."""

    max_minutes: float | None = None
    """Stop after so many minutes."""

    stall_limit: float | None = None
    """End a run that does nothing for so many seconds, and print where each process is; a step, a
    hook, a wait for data or a save that takes longer counts as nothing."""

    profile_steps: int = 0
    """Write a torch.profiler trace of so many training steps; 0 writes none."""

    resume: str = "never"
    """``auto`` goes on with the run in ``work_dir`` if there is one, a path with that run (its
    folder, or one of its checkpoints); ``never`` trains afresh and writes no checkpoints."""

    save_every_updates: int | None = None
    """Optimizer steps between two checkpoints."""

    save_every_epochs: int | None = 1
    """Epochs between two checkpoints; 0 means none but the last."""

    save_every_minutes: float | None = None
    """Minutes between two checkpoints."""

    keep_last: int = 2
    """How many of the newest checkpoints stay."""

    keep_best: int = 1
    """How many of the best checkpoints stay, by ModelCheckpoint's indicator."""

    async_save: bool = False
    """Whether checkpoints are copied in memory and written while the training goes on."""

    slim_lambda: float | None = None
    """Weight of an L1 penalty on the scales of BatchNorms, for pruning by them (``Slim``)."""

    @classmethod
    def from_cfg(cls, cfg: Any) -> EngineConfig:
        """Pick the engine's keys out of ``cfg`` and check them.

        Args:
            cfg: An EasyDict, Namespace, dict, or any object with attributes; keys it lacks, or
                that are None, have their defaults.

        Raises:
            ConfigError: If a value is of the wrong type or out of range; names key, value, origin
                and mend.
        """
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            value = get(cfg, field.name)
            if value is not None:
                values[field.name] = _check(field.name, value, origin_of(cfg, field.name))
        return cls(**values)


_COUNTS = (
    *("accumulate_steps", "steps_per_epoch", "test_every", "max_skips", "early_stop"),
    *("save_every_updates", "keep_last"),
)

_SWITCHES = (
    *("deterministic", "channels_last", "keep_memory", "compile", "async_save", "inference_mode"),
)


def _check(name: str, value: Any, origin: str) -> Any:
    """Return the value of one engine key, converted; raise ConfigError if it is no good."""
    if name == "gpu_id":
        return tuple(check_key(name, value, origin))
    if name in ("num_epochs", "progress", "log_freq", "resume"):
        return check_key(name, value, origin)
    if name in _SWITCHES:
        return as_bool(name, value, origin)
    if name in ("seed", "keep_best", "profile_steps"):
        return as_int(name, value, origin, minimum=0)
    if name == "save_every_epochs":
        return as_int(name, value, origin, minimum=0) or None
    if name in _COUNTS:
        return as_int(name, value, origin, minimum=1)
    if name in (
        "clip_grad_norm",
        "max_minutes",
        "save_every_minutes",
        "slim_lambda",
        "stall_limit",
    ):
        return as_float(name, value, origin, above=0.0)
    if name == "ema_decay":
        return as_float(name, value, origin, above=0.0, below=1.0)
    if name == "early_stop_indicator":
        return str(value)
    choices = {
        "amp": ("bf16", "fp16", "auto"),
        "on_nonfinite": ("raise", "skip", "ignore"),
        "strategy": STRATEGIES,
    }[name]
    return as_choice(name, value, origin, choices)
