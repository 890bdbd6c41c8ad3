"""Old door of :class:`basetrainer.datasets.balance.DataResample`."""

from basetrainer.datasets.balance import DataResample

__all__ = ["DataResample"]
