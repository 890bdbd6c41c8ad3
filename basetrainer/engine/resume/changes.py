"""What changed between a checkpoint and the run that resumes from it, and whether it may."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from basetrainer.config.keys import decides_run, is_told
from basetrainer.config.settings import origin_of
from basetrainer.engine.config import EngineConfig
from basetrainer.engine.resume.origin import Origin, run_fingerprint
from basetrainer.errors import ConfigError
from basetrainer.utils.differences import differences

if TYPE_CHECKING:
    from basetrainer.engine.engine import Engine

logger = logging.getLogger(__name__)

_DECIDING = ("optimizer", "criterion", "train data", "schedulers")
_TOLD = ("test data", "monitored metrics")
_MAX_SAID = 12
_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(EngineConfig)
    if field.default is not dataclasses.MISSING
}


@dataclass(frozen=True)
class Changes:
    """What is not as it was then, each with both values."""

    deciding: tuple[str, ...]
    """What of config, data, optimizer, criterion and schedule makes it another run."""

    of_model: tuple[str, ...]
    """Layers that are others, or have other options."""

    told: tuple[str, ...]
    """What may change, but is warned of."""

    num_epochs: str | None
    """The length of the run."""

    is_same_optimizer: bool
    """Whether the optimizer was made as then."""

    def report(self, origin: Origin) -> bool:
        """Warn of all; to be called when the model's state is known to fit.

        Returns:
            Whether something changed that decides what is learned.

        Raises:
            ConfigError: If so, and the checkpoint was found by ``auto``; names each difference.
        """
        _refuse((*self.deciding, *self.of_model), origin)
        for text in (*self.deciding, *self.of_model, *self.told):
            logger.warning("resume: changed: %s", text)
        return bool(self.deciding or self.of_model)


def find_changes(origin: Origin, engine: Engine, parts: Mapping[str, Any]) -> Changes:
    """Compare config, data, model, criterion, optimizer and schedule of now with those of then.

    A checkpoint of an earlier version holds less: what it lacks is not compared.

    Args:
        origin: The checkpoint.
        engine: The run that resumes, before anything is loaded.
        parts: What it is made of; see :func:`~basetrainer.engine.resume.run_parts.describe_parts`.

    Raises:
        ConfigError: If a key of the config, or the data, decide what is learned and changed, and
            the checkpoint was found by ``auto``; names each difference.
    """
    then = origin.manifest.fingerprint.get("parts") or {}
    config = list(_config_changes(origin.manifest.config, parts["config"], is_old=not then))
    num_epochs = next((text for key, text in config if key == "num_epochs"), None)
    of_config = [
        text + (f" ({place})" if (place := origin_of(engine.cfg, key)) else "")
        for key, text in config
        if decides_run(key)
    ]
    of_config += _data_changes(origin, engine, then)
    found = {
        name: list(differences(then[name], parts[name], name))
        for name in parts.keys() & then.keys() - {"config", "start"}
    }
    names = (*_DECIDING, *(("lengths",) if num_epochs is None else ()))
    deciding = [*of_config, *(text for name in names for text in found.get(name, ()))]
    if of_config:
        _refuse(deciding, origin)
    told = [text for key, text in config if is_told(key)]
    told += [text for name in _TOLD for text in found.get(name, ())]
    for key, text in config:
        if not decides_run(key) and not is_told(key) and key != "num_epochs":
            logger.debug("resume: changed: %s", text)
    return Changes(
        tuple(deciding),
        tuple(found.get("model", ())),
        tuple(told),
        num_epochs,
        is_same_optimizer=not found.get("optimizer"),
    )


def _refuse(deciding: Sequence[str], origin: Origin) -> None:
    if deciding and origin.is_own:
        more = f"; and {len(deciding) - _MAX_SAID} more" if len(deciding) > _MAX_SAID else ""
        raise ConfigError(
            f"The run in {origin.path.parent.parent} would not be the same any more. "
            f"{'; '.join(deciding[:_MAX_SAID])}{more}. Go on with the old settings; or begin anew, "
            f"with resume: never or another work_dir; or go on with the new ones from "
            f"resume: {origin.path}"
        )


def warn_of_length(changes: Changes, engine: Engine, before: float | None) -> None:
    """Say that the run has another length, and what that does to the learning rate.

    Args:
        changes: What :func:`find_changes` found.
        engine: After its position was loaded.
        before: The learning rate of then.
    """
    if changes.num_epochs is None:
        return
    position = engine.position
    schedules = [one for one in engine.callbacks if callable(getattr(one, "lr_at", None))]
    rate: Any = engine.lr if engine.optimizers else None
    if schedules and position.epoch < engine.num_epochs:
        schedule: Any = schedules[0]
        rate = schedule.lr_at(position.epoch, position.step)
    logger.warning(
        "resume: changed: %s; the learning rate at epoch %d, batch %d: %s before, %s from here on",
        changes.num_epochs,
        position.epoch,
        position.step,
        "none" if before is None else f"{before:.6g}",
        "none" if rate is None else f"{rate:.6g}",
    )


def _config_changes(
    then: Mapping[str, Any], now: Mapping[str, Any], *, is_old: bool
) -> Iterator[tuple[str, str]]:
    """Yield each key whose value is another, and both values."""
    for key in sorted(then.keys() | now.keys()):
        if is_old and (key not in then or key not in now or _is_text_of(then[key], now[key])):
            continue
        old, new = _value(then, key), _value(now, key)
        is_new = key not in then or key not in now
        if is_new and _is_unset(old) and _is_unset(new):
            continue
        if {type(old), type(new)} <= {int, float, bool} and old == new:
            continue
        for text in differences(old, new, key):
            yield key, text


def _value(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    return _DEFAULTS.get(key) if value is None else value


def _is_unset(value: Any) -> bool:
    """Whether a key with that value is most likely as good as none; 0 is a number."""
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def _is_text_of(then: Any, now: Any) -> bool:
    """Whether an earlier version wrote but the text of what is now described."""
    return isinstance(then, str) and not isinstance(now, str) and now is not None


def _data_changes(origin: Origin, engine: Engine, parts: Mapping[str, Any]) -> Iterator[str]:
    now, then = run_fingerprint(engine), origin.manifest.fingerprint
    start = parts.get("start", {})
    for key, new in {"global_batch": now["global_batch"], **now["data"]}.items():
        old = then.get("data", {}).get(key, then.get(key))
        if old == new:
            continue
        if start.get(key) == new:
            logger.warning(
                "resume: the training data's %s had become %s while training; it begins with %s "
                "again",
                key,
                old,
                new,
            )
        else:
            yield f"the training data's {key}: {old} then, {new} now"
