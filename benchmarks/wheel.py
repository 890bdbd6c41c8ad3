"""What the wheel is made of: kilobytes of each room, and of docstrings and comments.

python -m benchmarks.wheel
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def deflated(text: str) -> int:
    """Bytes of a text in a zip file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return len(packer.compress(text.encode()) + packer.flush())


def stripped(text: str, *, docstrings: bool) -> str:
    """A module without comments, and without docstrings if wanted."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if docstrings and isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass()
    return ast.unparse(tree)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this tree into a folder, and return its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> None:
    """Build the wheel, and print the table."""
    rooms, plain, bare, texts = Counter[str](), 0, 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        size = wheel.stat().st_size
        with zipfile.ZipFile(wheel) as file:
            for entry in file.infolist():
                parts = entry.filename.split("/")
                rooms[parts[1] if len(parts) > 2 else parts[0]] += entry.compress_size
                if entry.filename.endswith(".py"):
                    text = file.read(entry).decode()
                    texts.append(text)
                    plain += deflated(text) - deflated(stripped(text, docstrings=False))
                    bare += deflated(text) - deflated(stripped(text, docstrings=True))
            count = len(file.namelist())
    for room, taken in rooms.most_common():
        print(f"{taken / 1e3:8.1f} kB  {room}")
    names = size - sum(rooms.values())
    print(f"{names / 1e3:8.1f} kB  names and places of {count} files")
    print(f"{size / 1e3:8.1f} kB  in all")
    print(f"{(size - plain) / 1e3:8.1f} kB  without comments and blank lines")
    print(f"{(size - bare) / 1e3:8.1f} kB  without docstrings as well")
    print(f"{deflated(''.join(texts)) / 1e3:8.1f} kB  the modules as one file")
    bare_texts = [stripped(text, docstrings=True) for text in texts]
    print(f"{deflated(''.join(bare_texts)) / 1e3:8.1f} kB  that without docstrings and comments")


if __name__ == "__main__":
    main()
