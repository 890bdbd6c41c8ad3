"""Files that somebody hostile could leave where a run reads: pickles, giants, manifests, YAML."""

from __future__ import annotations

import dataclasses
import marshal
import operator
import os
import pickle
import subprocess
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basetrainer.checkpoint.manifest import FileEntry, Manifest
from basetrainer.checkpoint.run_folder import MANIFEST

MARK = "executed"
"""The file that appears in the current folder if something was executed."""

_CODE = f"__import__('pathlib').Path('{MARK}').touch()"

GIANT = 10**12
STATE = "state.pt"


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts

    def __call__(self) -> None:
        """Be callable, so that a call of what this call returns can be pickled."""


def inner_file() -> bytes:
    """Return a pickle that executes something."""
    return pickle.dumps(Call(os.system, f"touch {MARK}"), protocol=2)


def _laughs() -> Any:
    """A list of lists of ... that stands for 10^30 values."""
    part: list[Any] = [0] * 10
    for _ in range(30):
        part = [part] * 10
    return part


def _endless() -> Any:
    part: list[Any] = []
    part.append(part)
    return part


def _deep() -> Any:
    part: list[Any] = []
    for _ in range(300):  # pickle itself recurs; a hand-written file may go on
        part = [part]
    return part


def _sparse() -> Any:
    place, value = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1)
    return torch.sparse_coo_tensor(place, value, [GIANT], check_invariants=True)


def _overridden() -> Any:
    state = OrderedDict(a=1)
    vars(state).update(get="no method", values="no method", _metadata={"": {"version": "x"}})
    return state


class Whole(nn.Linear):
    """A model that is pickled as it is."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.evil = Call(os.system, f"touch {MARK}")


PICKLES: dict[str, Callable[[], Any]] = {
    "os.system": lambda: Call(os.system, f"touch {MARK}"),
    "subprocess": lambda: Call(subprocess.call, ["touch", MARK]),
    "mknod": lambda: Call(os.mknod, MARK),
    "eval": lambda: Call(eval, _CODE),
    "exec": lambda: Call(exec, _CODE),
    "nested calls": lambda: Call(list, Call(map, os.system, [f"touch {MARK}"])),
    "a chain of attributes": lambda: Call(
        Call(getattr, Call(__import__, "os"), "system"), f"touch {MARK}"
    ),
    "attrgetter": lambda: Call(
        Call(operator.attrgetter("system"), Call(__import__, "os")), f"touch {MARK}"
    ),
    "a numpy array of objects": lambda: np.array([Call(os.system, f"touch {MARK}")], object),
    "a file in the file": lambda: Call(
        torch.storage._load_from_bytes,
        inner_file(),
    ),
    "a pickled model": Whole,
    "marshalled code": lambda: Call(
        eval, Call(marshal.loads, marshal.dumps(compile(_CODE, "", "eval")))
    ),
    "a pickle in the pickle": lambda: Call(pickle.loads, inner_file()),
}
"""What executes something, by creating the file :data:`MARK`, when it is unpickled."""

GIANTS: dict[str, Callable[[], Any]] = {
    "overridden methods": _overridden,
    "a huge bytearray": lambda: Call(bytearray, GIANT),
    "a huge new tensor": lambda: Call(torch.Tensor, 10**6, 10**6),
    "an expanded tensor": lambda: torch.zeros(1).expand(GIANT),
    "a sparse tensor": _sparse,
    "a tensor without numbers": lambda: torch.empty(GIANT, device="meta"),
    "lists of lists, 10^30": _laughs,
    "a list in itself": _endless,
    "300 lists deep": _deep,
}
"""What is larger than it looks, or not what it looks like."""


def _bomb(path: Path) -> None:
    """Turn a file into one of its size whose first tensor unpacks to 40 MB."""
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, bytes(4 * 10**7) if name.endswith("data/0") else content)


def _deeper(path: Path) -> None:
    path.write_bytes(b"\x80\x02" + b"(" * 20_000 + b"l" * 20_000 + b".")


def _script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, yet such files are about
        torch.jit.script(nn.Linear(2, 2)).save(path)


FILES: dict[str, Callable[[Path], object]] = {
    "a bare pickle": lambda path: path.write_bytes(inner_file()),
    "a pickle of protocol 5": lambda path: path.write_bytes(
        pickle.dumps(Call(os.system, f"touch {MARK}"), protocol=5)
    ),
    "20,000 lists deep": _deeper,
    "an archive of 40 MB in 40 kB": _bomb,
    "a TorchScript program": _script,
}
"""What is done to a whole file."""


def _changed(**entries: Any) -> Callable[[Path, Manifest], None]:
    """Return what writes the manifest with other entries, and the right hash of itself."""

    def change(folder: Path, manifest: Manifest) -> None:
        (folder / MANIFEST).write_bytes(dataclasses.replace(manifest, **entries).to_bytes())

    return change


def _raw(data: bytes) -> Callable[[Path, Manifest], None]:
    def write(folder: Path, manifest: Manifest) -> None:
        (folder / MANIFEST).write_bytes(data)

    return write


def _linked(folder: Path, manifest: Manifest) -> None:
    state = folder / STATE
    elsewhere = folder.parent / "elsewhere.pt"
    state.rename(elsewhere)
    state.symlink_to(elsewhere)


def _pipe(folder: Path, manifest: Manifest) -> None:
    (folder / STATE).unlink()
    os.mkfifo(folder / STATE)


def _endless_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).symlink_to("/dev/zero")


def _large_manifest(folder: Path, manifest: Manifest) -> None:
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(1 << 34)


_ENTRY = FileEntry(1, "0" * 64)
MANIFESTS: dict[str, Callable[[Path, Manifest], None]] = {
    "../ in a name": _changed(files={STATE: _ENTRY, f"../{STATE}": _ENTRY}),
    "an absolute path": _changed(files={STATE: _ENTRY, "/etc/passwd": _ENTRY}),
    "a link to another file": _linked,
    "a pipe": _pipe,
    "a link to /dev/zero": _endless_manifest,
    "a manifest of 16 GiB": _large_manifest,
    "JSON 100,000 lists deep": _raw(b"[" * 100_000),
    "JSON 100,000 objects deep": _raw(b'{"a":' * 100_000),
    "sizes as texts": _changed(files={STATE: FileEntry("many", 5)}),  # type: ignore[arg-type]
    "a text as figure": _changed(figure="best"),
    "an infinite position": _changed(position={"update": 1, "epoch": float("inf")}),
    "a list as settings": _changed(config=[1]),
}
"""What is done to a checkpoint by its manifest."""

YAMLS: dict[str, str] = {
    "a call": f"lr: !!python/object/apply:os.system ['touch {MARK}']",
    "a new object": "lr: !!python/object/new:os.system [id]",
    "a name": "lr: !!python/name:os.system",
    "a module": "lr: !!python/module:os",
    "an alias bomb": "a: &a [1,1,1,1,1,1,1,1,1]\n"
    + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
    "a bomb of merged keys": "a: &a {x: 1, y: 2}\n"
    + "".join(
        f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]}}\n" for n in range(9)
    ),
    "a list in itself": "lr: &a [*a]",
    "2,000 lists deep": "lr: " + "[" * 2_000,
    "a file of 2 MB": "lr: " + "1" * 2_000_000,
}
"""Settings."""
