"""Test sets: one test loader, or several of them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from basetrainer._logs import Logs
from basetrainer.errors import ConfigError


def has_figures(logs: Logs | None, test_loader: Any) -> bool:
    """Whether ``logs`` hold the figures that decide: those of a test where there is a loader.

    In an epoch without an evaluation train figures must not stand in for them.
    """
    return bool((logs or {}).get("test")) or test_loader is None


def named_test_sets(test_loader: Any) -> dict[str, Iterable[Any] | None]:
    """Return each test loader by the name of its set; a single one, or None, has the name "".

    Raises:
        ConfigError: If a mapping is empty, or a name cannot stand in paths and tags.
    """
    if not isinstance(test_loader, Mapping):
        return {"": test_loader}
    if not test_loader:
        raise ConfigError(
            "build_test_loader returned a mapping without any test set. Return None for no test."
        )
    for name in test_loader:
        if not isinstance(name, str) or not name.strip(". ") or "/" in name or "\\" in name:
            raise ConfigError(
                f"The test set {name!r} needs another name: it stands in the names of files and "
                f"figures, so it must be a text without slashes."
            )
    return dict(test_loader)
