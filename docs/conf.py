"""The site of the docs: MyST pages, and an API reference built from docstrings.

Run ``sphinx-build -W docs OUT``.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from basetrainer import __version__
from basetrainer.__main__ import main as run_command

project = "basetrainer"
author = "The basetrainer authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "show-inheritance": True, "no-value": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are told within their class, not as entries of their own
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

highlight_language = "text"  # where a block does not say

html_theme = "furo"
html_title = f"basetrainer {__version__}"
html_show_copyright = False


class CommandHelp(Directive):
    """What a command of ``basetrainer`` says with ``--help``, as a literal block."""

    has_content = False
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Run the command."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            run_command([*self.arguments, "--help"])
        return [nodes.literal_block(out.getvalue(), out.getvalue(), language="text")]


def have_no_type(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Say that the docstring of an attribute begins with no type: annotations have it.

    Napoleon takes what is before the first colon for one.
    """
    if what in {"attribute", "data", "property"} and lines:
        lines[0] = f": {lines[0]}"


def setup(app: Sphinx) -> None:
    """Add what the pages need beside the extensions."""
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", have_no_type, priority=400)  # Napoleon has 500
