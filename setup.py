"""Shim for tools that still call setup.py; all metadata is in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

text = Path(__file__).with_name("basetrainer").joinpath("__version__.py").read_text("utf-8")
setup(
    version=re.search(r'"(.+)"', text.partition("__version__ =")[2])[1],
    packages=find_packages(include=["basetrainer*"]),
    package_data={"basetrainer": ["py.typed"]},
)
