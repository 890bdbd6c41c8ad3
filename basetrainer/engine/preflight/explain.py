"""Explain a run before it starts: who hears which hook, each setting's origin, the schedule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from basetrainer._epochs import epoch_number
from basetrainer.config.keys import all_keys
from basetrainer.config.settings import as_mapping, get, origin_of
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import unwrap
from basetrainer.engine.base import Base, hears
from basetrainer.engine.preflight.folders import moved, target_folder
from basetrainer.engine.preflight.report import DryRunReport
from basetrainer.engine.preflight.stage import temporary_folder, undisturbed

if TYPE_CHECKING:
    from basetrainer.engine.trainer import EngineTrainer

logger = logging.getLogger(__name__)

ORDER = """
on_train_begin
for each epoch:
    set_model
    on_epoch_begin
    for each batch:
        on_batch_begin
        train_step
        on_optimizer_step
        on_train_summary
        on_batch_end
    for each test set:
        on_test_begin
        for each batch:
            run_step
            on_test_summary
        on_test_end
    on_epoch_end
on_train_end
if something fails:
    on_exception
"""
"""What is called, in this order; a test compares it with a run."""

_WIDTH = 60


def explain(trainer: EngineTrainer, cfg: Any = None) -> str:
    """Return in words what ``trainer.run()`` will do.

    That is the devices, the global batch and the schedule; each hook in the order in which it is
    called, with the callbacks that hear it in theirs; and each setting with the one place that it
    comes from: ``default``, ``command line``, ``configs/config.yaml, line 7``, or ``program`` for
    those that the program has set.

    Args:
        trainer: It is built.
        cfg: Where settings come from; by default ``trainer.cfg``.
    """
    lines = [
        type(trainer).__name__,
        *_facts(trainer),
        "",
        "hooks, and who hears them in which order",
        *_hooks(trainer),
        "",
        "settings, and where they come from",
        *_settings(trainer, trainer.cfg if cfg is None else cfg),
    ]
    return "\n".join(lines)


def explain_run(make_trainer: Callable[[Any], EngineTrainer], cfg: Any) -> str:
    """Return, and log, what a run with these settings will do; nothing of it is left.

    Args:
        make_trainer: The class of the trainer, or what else makes one from a configuration.
        cfg: The settings; they are not changed. Folders are those of ``dry_run``.
    """
    context = DistContext.current()
    with undisturbed(DryRunReport("")), temporary_folder(context) as folder:
        text = explain(make_trainer(moved(cfg, folder)), cfg)
        text = text.replace(str(folder), str(target_folder(cfg)))
    if context.is_main:
        logger.info("%s", text)
    return text


def _facts(trainer: EngineTrainer) -> Iterator[str]:
    world, parts = trainer.world_size, trainer.accumulate_steps
    model = unwrap(trainer.model)
    parameters = list(model.parameters())
    learning = sum(one.numel() for one in parameters if one.requires_grad)
    yield f"  devices   {world} x {trainer.device}, strategy {trainer.config.strategy}"
    yield f"  data      {trainer.train_num:,} training and {trainer.test_num:,} test samples"
    yield f"  batch     {_batch(trainer, world, parts)}"
    updates = -(-trainer.num_steps // parts)
    yield f"  epochs    {trainer.num_epochs} of {trainer.num_steps} steps, {updates} updates"
    yield (
        f"  model     {type(model).__name__}, {sum(one.numel() for one in parameters):,} "
        f"parameters, {learning:,} of them are trained"
    )
    for optimizer in trainer.optimizers:
        yield f"  optimizer {type(optimizer).__name__}, lr {optimizer.param_groups[0]['lr']:.4g}"
    for callback in trainer.callbacks:
        if (lr_at := getattr(callback, "lr_at", None)) is not None:
            yield f"  schedule  {type(callback).__name__}: {_curve(trainer, callback, lr_at)}"


def _batch(trainer: EngineTrainer, world: int, parts: int) -> str:
    """Return how many samples an update has, as far as the loader says so."""
    loader = trainer.train_loader
    size = getattr(loader, "batch_size", None)
    several = f" x {world} process(es) x {parts} accumulated"
    if isinstance(size, int):
        return f"{size}{several} = {size * world * parts} samples per update"
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is not None:
        return f"as {type(sampler).__name__} makes them{several}"
    return f"as the data give them{several}"


def _curve(trainer: EngineTrainer, callback: Base, lr_at: Callable[[int], float]) -> str:
    """Return the learning rate at the start of a few epochs."""
    callback.attach(trainer)  # it asks for accumulate_steps
    last = trainer.num_epochs - 1
    warm = int(getattr(callback, "num_warn_up", 0))
    epochs = sorted({0, min(warm, last), last // 4, last // 2, 3 * last // 4, last})
    return ", ".join(f"{lr_at(epoch):.4g} in epoch {epoch_number(epoch)}" for epoch in epochs)


def _hooks(trainer: EngineTrainer) -> Iterator[str]:
    for line in ORDER.strip("\n").splitlines():
        name = line.strip()
        if name.endswith(":"):
            yield f"  {line}"
            continue
        own = getattr(type(trainer), name)
        who = []
        if not hasattr(Base, name):
            who = [own.__qualname__]
        elif own is not getattr(Base, name) or name in vars(trainer):
            who = [f"{type(trainer).__name__} itself"]
        who += [type(one).__name__ for one in trainer.callbacks if _listens(one, name)]
        yield f"  {line:<28}{', '.join(who)}".rstrip()


def _listens(callback: Base, name: str) -> bool:
    # Every callback keeps the model; only one that does more with it is worth telling.
    is_plain = name == "set_model" and "set_model" not in vars(type(callback))
    return hasattr(Base, name) and hears(callback, name) and not is_plain


def _settings(trainer: EngineTrainer, cfg: Any) -> Iterator[str]:
    given = as_mapping(trainer.cfg) if trainer.cfg is not None else {}
    engine = vars(trainer.config)
    declared = {
        key: one.default
        for key, one in all_keys().items()
        if not one.owner.startswith("basetrainer.")
    }
    own = {key: given[key] for key in given if key not in engine}
    for key, value in {**engine, **declared, **own}.items():
        text = str(value)
        text = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
        yield f"  {key}: {text}  ({_origin(trainer, cfg, key)})"


def _origin(trainer: EngineTrainer, cfg: Any, key: str) -> str:
    if get(cfg, key) is None and get(trainer.cfg, key) is None:
        return origin_of(cfg, key) or "default"
    return origin_of(cfg, key) or "program"
