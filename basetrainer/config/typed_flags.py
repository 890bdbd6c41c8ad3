"""Which settings of an argparse program were typed on its command line."""

from __future__ import annotations

import argparse
import contextlib
import logging
import numbers
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from basetrainer.config.keys import all_keys
from basetrainer.config.values import as_bool, not_a_choice, refusal
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arguments:
    """What argparse found."""

    values: dict[str, Any]
    """Value of every argument, defaults included."""

    typed: frozenset[str] = frozenset()
    """The keys of ``values`` that were typed."""

    actions: Mapping[str, argparse.Action] = field(default_factory=dict)
    """The parser's rule for each key, if the parser is known."""


def from_parser(parser: argparse.ArgumentParser) -> Arguments:
    """Parse the command line; what was typed is known exactly, equal to the default or not.

    Raises:
        SystemExit: As ``parser.parse_args()``, for ``--help`` and for errors.
    """
    values = vars(parser.parse_args())
    actions = {action.dest: action for one in _parsers(parser) for action in one._actions}
    with _without_defaults(parser):
        found = vars(parser.parse_args())
    typed = {
        key
        for key, value in found.items()
        # An optional positional is given its default, or [], as if it had been typed.
        if key not in actions
        or actions[key].option_strings
        or value not in ([], actions[key].default)
    }
    return Arguments(values, frozenset(typed), actions)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its sub-commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in set(action.choices.values()):
                yield from _parsers(command)


@contextlib.contextmanager
def _without_defaults(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Let a parser set nothing but what is typed."""
    with contextlib.ExitStack() as stack:
        for one in _parsers(parser):
            for action in filter(lambda action: action.option_strings, one._actions):
                stack.callback(setattr, action, "default", action.default)
                action.default = argparse.SUPPRESS
            stack.callback(one._defaults.update, dict(one._defaults))
            one._defaults.clear()
        yield


def from_namespace(args: Any) -> Arguments:
    """Read off ``sys.argv`` which values of parsed arguments were typed.

    Only ``--key``, ``--key=value`` and unique prefixes of the keys count, and only if what stands
    there reads as the value held; anything else counts as a default, which DEBUG says.

    Args:
        args: A Namespace, or any object or mapping that holds the arguments.
    """
    values = dict(args) if isinstance(args, Mapping) else dict(vars(args))
    typed: set[str] = set()
    for option, found in _options(sys.argv[1:]).items():
        name = option.replace("-", "_")
        keys = [name] if name in values else [key for key in values if key.startswith(name)]
        if len(keys) == 1 and _reads_as(found, values[keys[0]]):
            typed.add(keys[0])
        else:
            logger.debug("--%s is not known to set a value: a config file goes before it.", option)
    return Arguments(values, frozenset(typed))


def _options(words: Sequence[str]) -> dict[str, list[list[str]]]:
    """Return the long options of a command line, and the words behind each time one stands."""
    options: dict[str, list[list[str]]] = {}
    here: list[str] | None = None
    for word in words:
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            here = [value] if equals else []
            options.setdefault(name, []).append(here)
            here = None if equals else here
        elif word.startswith("-") and not re.match(r"-\.?\d", word):
            here = None  # a short option
        elif here is not None:
            here.append(word)
    return options


def _reads_as(found: list[list[str]], held: object) -> bool:
    """Say whether the words behind an option read as the value held: the last time, or all."""
    appended = [word for words in found for word in words]
    return _words_read_as(found[-1], held) or (
        isinstance(held, list) and _words_read_as(appended, held)
    )


def _words_read_as(words: list[str], held: object) -> bool:
    if isinstance(held, (list, tuple)):
        if len(words) == 1 and len(held) != 1:
            words = re.findall(r"[^\s,\[\]()]+", words[0])
        return len(words) == len(held) and all(
            _words_read_as([word], item) for word, item in zip(words, held, strict=True)
        )
    if isinstance(held, bool):
        with contextlib.suppress(ConfigError):
            return as_bool("", words[0]) is held if words else held
        return held  # a switch before a positional argument
    if not words:
        return False
    # What follows the first word belongs to positional arguments.
    if isinstance(held, numbers.Real):
        with contextlib.suppress(ValueError):
            return float(words[0]) == held
        return False
    return words[0] == (os.fspath(held) if isinstance(held, os.PathLike) else str(held))


def convert(key: str, value: Any, action: argparse.Action, origin: str) -> Any:
    """Return a value from a config file as the parser would have read it from the command line.

    Texts go through the ``type`` of the argument, those in a list one by one.

    Raises:
        ConfigError: If the type does not take the text. Keys that have a check of their own are
            left to it.
    """
    if isinstance(value, list):
        return [convert(key, item, action, origin) for item in value]
    if not isinstance(value, str) or not callable(action.type):
        return value
    if action.type is bool:  # bool("false") is True, which nobody means
        return as_bool(key, value, origin)
    try:
        return action.type(value)
    except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
        if key in all_keys():
            return value
        kind = getattr(action.type, "__name__", "value")
        mend = f"Write what {action.option_strings or key} takes ({error})."
        raise refusal(key, value, f"is not a good {kind}", origin, mend) from error


def check_choices(key: str, value: Any, action: argparse.Action, origin: str) -> None:
    """Refuse a value that is not among the choices of the argument.

    Raises:
        ConfigError: Names the nearest choice and all of them.
    """
    if action.choices is None or value is None:
        return
    for item in value if isinstance(value, list) else [value]:
        if item not in action.choices:
            raise not_a_choice(key, item, origin, action.choices)
