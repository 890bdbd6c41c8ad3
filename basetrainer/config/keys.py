"""One registry of config keys: each is declared once, as a field of a dataclass."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from basetrainer._names import nearest_key
from basetrainer.config.checks import Check
from basetrainer.config.settings import get, origin_of
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_DECLARING = (
    "basetrainer.config.program",
    "basetrainer.engine.config",
    "basetrainer.pruning.options",
)
"""The modules of this package that declare keys, by name: a program need not import them."""

_NOTES = """
moder_dir output_dir save_dir rank world_size note notes comment comments description name exp_name
experiment run_name run_id project tag tags user author host hostname date time timestamp start_time
verbose debug port dist_url
device devices gpu gpus gpu_ids workers pin_memory persistent_workers prefetch_factor
local_world_size log_level log_name log_interval log_every print_freq print_every save_freq
save_every save_interval save_best wandb use_wandb tensorboard use_tensorboard quiet job_id
"""
"""Names under which programs keep what does not change what a run learns."""

_PLACES = ("_dir", "_root", "_path", "_file", "_folder", "_url")
"""How names of paths end: what lies there may be the same."""


@dataclass(frozen=True)
class Key:
    """What one key of a config means, and what it may hold; None always means not set."""

    name: str
    """The key."""

    owner: str
    """The class that declares it, ``module.Class``."""

    default: Any
    """What a config without the key means."""

    check: Check
    """Converts and checks a value; ``check.kind`` says in words what it takes."""

    meaning: str
    """What it does, with the unit."""

    example: str | None
    """A good value, as YAML has it."""

    decides: bool | Literal["warn"]
    """Whether a run with another value is another run, which ``resume: auto`` refuses to continue;
    ``"warn"`` if it continues, with a warning."""

    def __str__(self) -> str:
        return f"{self.name}: {self.check.kind}; {self.default} by default. {self.meaning}"


_keys: dict[str, Key] = {}


def key(
    default: T,
    check: Check,
    meaning: str,
    example: str | None = None,
    *,
    decides: bool | Literal["warn"] = True,
) -> T:
    """Declare one key: the default of a field of a dataclass under :func:`declares_keys`.

    Args:
        default: What a config without the key means.
        check: One of :mod:`basetrainer.config.checks`, or a ``Check`` of your own.
        meaning: What the key does, with the unit, as sentences.
        example: A good value for error messages, as YAML has it; by default one from the check.
        decides: Whether another value makes another run, so that ``resume: auto`` refuses to
            continue it; true by default, ``"warn"`` for a warning.
    """
    declared = Key("", "", default, check, meaning, example, decides)
    field: T = dataclasses.field(default=default, metadata={"key": declared})
    return field


def declares_keys(cls: type[T]) -> type[T]:
    """Enter each field of a dataclass, made by :func:`key`, into the registry of keys.

    From then on :func:`~basetrainer.parser_config` checks and converts its values, misspellings of
    it are noticed, ``explain`` gives its meaning, and a resume knows whether it decides the run.
    :func:`read_keys` makes an object of the class from a config.

    Raises:
        ConfigError: If it is no dataclass, if a field is not made by :func:`key`, or if another
            class declares its name.
    """
    owner = f"{cls.__module__}.{cls.__qualname__}"
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{owner} is no dataclass. Put @declares_keys above @dataclass.")
    if not owner.startswith("basetrainer."):
        all_keys()  # so that names of ours are taken, whatever is imported first
    inherited = {
        name for base in cls.__mro__[1:] for name in getattr(base, "__dataclass_fields__", ())
    }
    for field in dataclasses.fields(cls):
        if field.name in inherited:
            continue
        if "key" not in field.metadata:
            raise ConfigError(f"{owner}.{field.name} is no key. Write {field.name} = key(...).")
        known = _keys.get(field.name)
        if known is not None and known.owner != owner:
            raise ConfigError(
                f"{owner} declares the key {field.name}, which {known.owner} declares already. "
                f"Choose another name, or read that one with get(cfg, {field.name!r})."
            )
        declared: Key = field.metadata["key"]
        _keys[field.name] = dataclasses.replace(declared, name=field.name, owner=owner)
    return cls


def all_keys() -> Mapping[str, Key]:
    """Return every declared key by name, those of this package and those of others so far."""
    for module in _DECLARING:
        import_module(module)
    return MappingProxyType(_keys)


def read_keys(cls: type[T], cfg: Any) -> T:
    """Pick the keys that a class declares out of a config, and check them.

    Args:
        cls: A dataclass under :func:`declares_keys`.
        cfg: An EasyDict, Namespace, dict, or any object with attributes; keys it lacks, or that
            are None, have their defaults. Lists become tuples, as a declaration is frozen.

    Raises:
        ConfigError: If a value is of the wrong type or out of range; names key, value, origin and
            how to fix it.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type] # a dataclass, by contract
        value = get(cfg, field.name)
        if value is not None:
            value = check_key(field.name, value, origin_of(cfg, field.name))
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def check_key(name: str, value: object, origin: str = "") -> Any:
    """Return the value of one key, converted to the type that its declaration gives.

    Args:
        name: Key; the value of a key that nobody declares is returned as it is.
        value: What the user wrote; None, for a key that is not set, is returned as it is, or as no
            arguments where there may be some.
        origin: Where it comes from, for the message: ``"configs/config.yaml, line 7"``,
            ``"command line"``, or ``""`` (the default) if nobody knows.

    Raises:
        ConfigError: If it is of the wrong type or out of range; names key, value, origin, fix.
    """
    declared = all_keys().get(name)
    if declared is None or (value is None and not declared.check.takes_none):
        return value
    return declared.check(name, value, origin, example=declared.example)


def read_key(cfg: Any, name: str) -> Any:
    """Return one checked value from a config, or the declared default if it is not set."""
    value = get(cfg, name)
    if value is None:
        return all_keys()[name].default
    return check_key(name, value, origin_of(cfg, name))


def check_keys(cfg: MutableMapping[str, Any], origins: Mapping[str, str]) -> None:
    """Check and convert, in place, every value of ``cfg`` whose key is declared.

    Args:
        cfg: The config.
        origins: Where the value of each key comes from, for the message; may lack keys.

    Raises:
        ConfigError: At the first value that is no good.
    """
    for name in all_keys():
        if name in cfg:
            cfg[name] = check_key(name, cfg[name], origins.get(name, ""))


def warn_of_misspellings(
    names: Collection[Any],
    origins: Mapping[str, str],
    given: Collection[Any] = (),
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Log one warning for each key that nobody declares but that looks like a declared one.

    Args:
        names: The keys to look at.
        origins: Where each of them stands, for the message; may lack keys.
        given: Keys that are not meant, since they are given too; none by default.
        elsewhere: By names that other libraries have for a key, what it is called here.
    """
    known = all_keys()
    for name in names:
        if not isinstance(name, str) or name in known:
            continue
        meant = elsewhere.get(name) or nearest_key(name, known)
        if meant and meant not in given:
            place = f" ({origins[name]})" if origins.get(name) else ""
            logger.warning(
                "%s%s: this key is not known. Did you mean %s? If it is your own, all is well.",
                name,
                place,
                meant,
            )


def decides_run(name: str) -> bool:
    """Whether another value of a key makes another run of it, so that it must not be resumed.

    Every key does, a program's own too, unless it is declared not to, or its name says that it is
    a path or a note.
    """
    return _decides(name) is True


def is_told(name: str) -> bool:
    """Whether another value of a key is warned of, but the run may be resumed."""
    return _decides(name) == "warn"


def _decides(name: str) -> bool | Literal["warn"]:
    if declared := all_keys().get(name):
        return declared.decides
    if name in _NOTES.split():
        return False
    return "warn" if name.endswith(_PLACES) else True
