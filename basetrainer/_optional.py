"""Import an optional package at the moment of use, or say how to install it."""

from __future__ import annotations

import importlib
from types import ModuleType

from basetrainer._namesake import requirement
from basetrainer.errors import MissingExtraError


def require(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import ``module``, or say how to install it.

    Args:
        module: Dotted name of the module.
        extra: The extra of basetrainer that brings it.
        needed_by: What the user asked for, as the subject of the message.

    Raises:
        MissingExtraError: If the package itself is absent. An error *inside* an installed
            package is passed on untouched.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name != root:
            raise  # the package is there; it is broken, or of another version
        raise MissingExtraError(
            f"{needed_by} needs the package {root!r}, which is not installed. "
            f"Install it with: pip install '{requirement(extra)}'"
        ) from error
