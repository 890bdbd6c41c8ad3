"""The version, importable without torch."""

__version__ = "2.0.0"
