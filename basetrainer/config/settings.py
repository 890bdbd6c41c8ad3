"""Config: the settings as an EasyDict that remembers where each value comes from."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from easydict import EasyDict

from basetrainer.errors import CheckpointError, ConfigError


class Config(EasyDict):  # type: ignore[misc] # easydict has no types
    """An EasyDict that remembers the origin of each of its values.

    The origins are no item: they are not iterated, saved or shown. They survive pickle and
    ``copy.deepcopy``; a value that a program sets has none. Nested mappings are plain EasyDicts.

    Make one with ``with_origins``, ask it with :func:`origin_of`.
    """

    # A slot, since everything in __dict__ of an EasyDict counts as an item to programs; named
    # with double underscores, since EasyDict makes items of all other names of its class.
    __slots__ = ("__origins__",)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None:
        _origins(self).pop(name, None)
        super().__setattr__(name, value)

    __setitem__ = __setattr__

    def __reduce__(self) -> tuple[Any, ...]:
        return with_origins, (dict(self), dict(_origins(self)))


def _origins(cfg: Config) -> dict[str, str]:
    """Return the origins themselves; a throwaway dict while ``cfg`` is being made."""
    origins: dict[str, str] = getattr(cfg, "__origins__", {})
    return origins


def with_origins(values: Mapping[str, Any], origins: Mapping[str, str]) -> Config:
    """Return settings with the origin of each value.

    Args:
        values: The settings.
        origins: ``"default"``, ``"command line"`` or ``"configs/config.yaml, line 7"`` by key.
    """
    cfg = Config(values)
    object.__setattr__(cfg, "__origins__", {key: origins[key] for key in origins if key in cfg})
    return cfg


def origin_of(cfg: Any, key: str) -> str:
    """Return where the value of ``key`` comes from: ``"configs/config.yaml, line 7"``, or ``""``.

    Args:
        cfg: Any config; only a :class:`Config` knows.
        key: A top-level key.
    """
    return _origins(cfg).get(key, "") if isinstance(cfg, Config) and key in cfg else ""


def get(cfg: Any, key: str, default: Any = None) -> Any:
    """Return one setting, or ``default`` (None unless given) if there is no such key.

    Args:
        cfg: An EasyDict, a dict or another mapping, a Namespace, or any object with attributes.
        key: The key, or the name of the attribute.
        default: What a missing key means.
    """
    if not isinstance(cfg, Mapping):
        return getattr(cfg, key, default)
    if key in cfg:
        return cfg[key]  # not get(): a key of that name hides it in an EasyDict
    return default


def put(cfg: Any, key: str, value: Any) -> None:
    """Set one setting in whatever :func:`get` reads."""
    if isinstance(cfg, MutableMapping):
        cfg[key] = value
    else:
        setattr(cfg, key, value)


def as_mapping(cfg: Any) -> Mapping[str, Any]:
    """Return whatever :func:`get` reads as a mapping."""
    if isinstance(cfg, Mapping):
        return cfg
    if isinstance(cfg, Namespace):
        return vars(cfg)
    names = [name for name in dir(cfg) if not name.startswith("_")]  # those of its class too
    return {name: getattr(cfg, name) for name in names if not callable(getattr(cfg, name))}


def update_dict(cfg1: Mapping[str, Any], cfg2: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new dict of both; where both have a key, that of ``cfg2`` holds.

    Mappings that both have under a key are merged in the same way, key by key.
    """
    merged = {key: cfg1[key] for key in cfg1}
    for key in cfg2:
        old, new = merged.get(key), cfg2[key]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            new = update_dict(old, new)
        merged[key] = new
    return merged


def easy2dict(config: Any) -> Any:
    """Return the same settings as plain dicts and lists, through and through."""
    if isinstance(config, Mapping):
        return {key: easy2dict(config[key]) for key in config}
    if type(config) in (list, tuple):
        return type(config)(easy2dict(item) for item in config)
    return config


def dict2easy(config: Mapping[str, Any]) -> EasyDict:
    """Return the same settings as an EasyDict, nested mappings included."""
    return EasyDict(config)


@contextmanager
def blaming(cfg: Any, *keys: str) -> Iterator[None]:
    """Name the key, and where it stands, in an error that its value causes.

    A :class:`~basetrainer.errors.ConfigError` or :class:`~basetrainer.errors.CheckpointError`
    raised inside becomes a ``ConfigError`` that begins with the key, unless it names it already.

    Args:
        cfg: The settings; of any kind.
        *keys: The keys whose values are used inside; of several the first that is set is named.
    """
    key = next((one for one in keys if get(cfg, one)), keys[-1])
    try:
        yield
    except (ConfigError, CheckpointError) as error:
        text = str(error)
        if text.startswith(f"{key}:"):
            raise
        origin = origin_of(cfg, key)
        place = f" ({origin})" if origin else ""
        raise ConfigError(f"{key}: {get(cfg, key)!r}{place}: {text}") from error
