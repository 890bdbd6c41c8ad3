"""Canvas: a matplotlib figure of one's own, letters that can be read, and the way into a file."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basetrainer._optional import require
from basetrainer.errors import ConfigError
from basetrainer.utils.file_utils import create_dir, write_atomically

DPI = 110

_FONTS = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Noto Sans"),
    *("Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS"),
)
"""Fonts that are tried in turn; the first comes with matplotlib and has no Chinese."""


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib ``Figure``; pyplot, which is the user's, is not touched.

    Args:
        width: In inches; a picture has 110 pixels per inch.
        height: Likewise.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra="plots", needed_by="Drawing a picture")
    return figures.Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def png(figure: Any) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    return _rendered(figure, "png")


def save(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Write a figure, whole or not at all, and return its path.

    Args:
        figure: From :func:`new_figure`.
        path: Its ending says the format; PNG if it has none. The folder is made if needed.

    Raises:
        ConfigError: If matplotlib cannot write the format, or the folder cannot be made.
    """
    path = Path(path)
    kind = path.suffix[1:].lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ConfigError(
            f"A picture cannot be written to {str(path)!r}: there is no format {kind!r}. "
            f"Known: {', '.join(sorted(known))}."
        )
    data = _rendered(figure, kind)
    create_dir(path.parent)
    write_atomically(path, lambda file: file.write(data))
    return path


def plain_text(text: str) -> str:
    """Return a text that matplotlib draws as it stands: no formula, no hidden legend entry."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def readable(names: Sequence[str]) -> list[str]:
    """Return names to draw; those with letters that no font here has become their index."""
    _, missing = _fonts_for("".join(names))
    return [
        str(index) if missing.intersection(name) else plain_text(name)
        for index, name in enumerate(names)
    ]


def _rendered(figure: Any, kind: str) -> bytes:
    texts = require("matplotlib.text", extra="plots", needed_by="Drawing a picture")
    found = figure.findobj(texts.Text)
    fonts, _ = _fonts_for("".join(text.get_text() for text in found))
    for text in found if len(fonts) > 1 else ():
        text.set_fontfamily(fonts)
    file = io.BytesIO()
    figure.savefig(file, format=kind)
    return file.getvalue()


def _fonts_for(text: str) -> tuple[list[str], set[str]]:
    """Return fonts that together have the letters of ``text``, and the letters that none has."""
    fonts, missing = [_FONTS[0]], {letter for letter in text if not letter.isascii()}
    if missing:
        manager = require("matplotlib.font_manager", extra="plots", needed_by="Drawing a picture")
        installed = {font.name: font.fname for font in manager.fontManager.ttflist}
        for name in _FONTS:
            if missing and name in installed:
                has = missing.intersection(
                    map(chr, manager.get_font(installed[name]).get_charmap())
                )
                if has and name not in fonts:
                    fonts.append(name)
                missing -= has
    return fonts, missing
