"""The tables of docs/config.md, made from the registry: ``python -m tests.config.tables``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import example
from basetrainer.config.keys import Key, all_keys
from basetrainer.config.program import ProgramKeys
from basetrainer.engine.config import EngineConfig
from basetrainer.pruning.options import PruneOptions

ROOT = Path(example.__file__).parent
PAGE = ROOT / "docs" / "config.md"
OWNERS = (EngineConfig, PruneOptions, ProgramKeys)

_RESUME = {True: "refused", "warn": "warned of", False: "allowed"}


def keys_of(owner: type) -> list[Key]:
    name = f"{owner.__module__}.{owner.__qualname__}"
    return [declared for declared in all_keys().values() if declared.owner == name]


def shown(default: Any) -> str:
    """A default as READMEs and tables have it."""
    return "null" if default in (None, ()) else str(default)


def table(owner: type) -> str:
    has_defaults = owner is not ProgramKeys
    names = ["Key", "Takes", *(["Default"] if has_defaults else []), "Another value at a resume"]
    lines = [[*names, "Meaning"], ["---"] * (len(names) + 1)]
    for one in keys_of(owner):
        default = [shown(one.default)] if has_defaults else []
        lines.append([f"`{one.name}`", one.check.kind, *default, _RESUME[one.decides], one.meaning])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_tables(text: str) -> str:
    """Return a page with its tables made anew, each between two comments that name its class."""
    for owner in OWNERS:
        begin, end = f"<!-- {owner.__name__} -->\n", f"<!-- /{owner.__name__} -->\n"
        body = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
        text = body.sub(lambda _, owner=owner: f"\n{table(owner)}\n", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
