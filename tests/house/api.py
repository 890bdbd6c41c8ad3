"""The public signatures: of all that ``basetrainer`` exports and of the paths that programs import.

``python -m tests.house.api`` writes them to api.txt, whose changes a review then shows.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import basetrainer

ROOT = Path(basetrainer.__file__).parents[1]
SNAPSHOT = Path(__file__).with_name("api.txt")

OLD_PATHS = """
callbacks.accuracy_recorder callbacks.callbacks callbacks.log_history callbacks.losses_recorder
callbacks.model_checkpoint callbacks.multi_losses_recorder criterion.criterion
dataloader.data_resample engine.base engine.comm engine.engine engine.launch engine.trainer
metric.accuracy_recorder metric.eval_tools.metrics models.build_models optimizer.build_optimizer
pruning.nni_pruning scheduler.CosineAnnealingLR scheduler.ExponentialLR scheduler.LambdaLR
scheduler.MultiStepLR scheduler.MultiStepValue scheduler.WarmUpLR scheduler.build_scheduler
utils.converter.pytorch2onnx utils.file_utils utils.log utils.plot_utils utils.setup_config
utils.summary utils.torch_data utils.torch_tools
"""
"""Modules that programs of the 1.0 versions import from; what is public in them counts."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def documented() -> Iterator[tuple[str, str]]:
    """Yield module and name of what README, docs and examples import."""
    pages = [ROOT / "README.md", ROOT / "example.py"]
    pages += [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    for page in sorted(pages):
        for module, names in re.findall(
            r"^from basetrainer\.([\w.]+) import ([\w, ]+)$", page.read_text("utf-8"), re.M
        ):
            for name in names.split(","):
                yield module, name.strip()


def public() -> dict[str, Any]:
    """Return what is public, by its path."""
    found = {f"basetrainer.{name}": getattr(basetrainer, name) for name in basetrainer.__all__}
    for path in OLD_PATHS.split():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of old paths
            module = importlib.import_module(f"basetrainer.{path}")
        ours = {
            name: value
            for name, value in vars(module).items()
            if re.match(r"basetrainer\.[a-z]", getattr(value, "__module__", "")) and callable(value)
        }
        # What a module imports for itself does not count, unless it is there to re-export.
        own = {name: one for name, one in ours.items() if one.__module__ == module.__name__}
        for name, value in (own or ours).items():
            if not name.startswith("_"):
                found[f"basetrainer.{path}.{name}"] = value
    for path, name in documented():
        module = importlib.import_module(f"basetrainer.{path}")
        value = getattr(module, name, None) or importlib.import_module(f"{module.__name__}.{name}")
        if inspect.ismodule(value):
            continue
        found[f"basetrainer.{path}.{name}"] = value
    return dict(sorted(found.items()))


def signatures() -> str:
    """Return a line for each public function, class, method and property."""
    lines: list[str] = []
    told: dict[int, str] = {}
    found = public()
    classes = [value for value in found.values() if inspect.isclass(value)]
    for path, value in found.items():
        if id(value) in told and callable(value):
            lines.append(f"{path} = {told[id(value)]}")
            continue
        told[id(value)] = path
        if not callable(value):
            lines.append(f"{path}: {type(value).__name__}")
            continue
        lines.append(f"{path}{_signature(value)}")
        if inspect.isclass(value):
            lines += [f"    {line}" for line in _members(value, classes)]
    return "\n".join(lines) + "\n"


class _Bare(str):
    """A text that is shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _members(kind: type, classes: list[type]) -> Iterator[str]:
    """Yield the public members of a class that are not those of another one in the snapshot."""
    parents = [one for one in classes if one is not kind and issubclass(kind, one)]
    if parents:
        yield f"is a {', '.join(sorted({one.__name__ for one in parents}))}"
    inherited = {one for parent in parents for one in parent.__mro__}
    owners = [one for one in kind.__mro__ if one.__module__.startswith("basetrainer")]
    owners = [one for one in owners if one not in inherited]
    for name in sorted({name for one in owners for name in vars(one) if not name.startswith("_")}):
        member = inspect.getattr_static(kind, name)
        if isinstance(member, (classmethod, staticmethod)):
            yield f"{type(member).__name__} {name}{_signature(member.__func__)}"
        elif inspect.isfunction(member):
            yield f"{name}{_signature(member)}"
        elif isinstance(member, property) or hasattr(member, "__get__"):
            yield f"property {name}"


def _signature(value: Any) -> str:
    try:
        found = inspect.signature(value)
        parameters = [
            one.replace(annotation=_bare(one.annotation)) for one in found.parameters.values()
        ]
        shown = found.replace(
            parameters=parameters, return_annotation=_bare(found.return_annotation)
        )
        return _ADDRESS.sub("", str(shown))
    except ValueError:  # of a built-in
        return "(...)"


def _bare(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


if __name__ == "__main__":
    SNAPSHOT.write_text(signatures(), encoding="utf-8")
