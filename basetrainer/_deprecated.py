"""Say that an old name has a new one, to whoever still uses it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def warn_moved(old: str, new: str) -> None:
    """Warn where a module is imported whose content is at another place now.

    Args:
        old: The module's ``__name__``.
        new: Where its names are, written as it is imported.
    """
    # 3 is the import statement: frames of importlib do not count.
    warnings.warn(f"{old} is an old path: import {new}.", DeprecationWarning, stacklevel=3)


def renamed(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function to warn of arguments given by an old name; it still takes them.

    Args:
        **names: What is to be written instead, by the old name.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def warned(*args: P.args, **kwargs: P.kwargs) -> T:
            for old in names.keys() & kwargs.keys():
                text = f"{old}= of {function.__qualname__.removesuffix('.__init__')} is now"
                warnings.warn(f"{text} {names[old]}.", DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return warned

    return decorate
