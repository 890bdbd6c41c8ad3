"""Old door of :class:`basetrainer.datasets.balance.DataResample`."""

from basetrainer._deprecated import warn_moved
from basetrainer.datasets.balance import DataResample

__all__ = ["DataResample"]

warn_moved(__name__, "basetrainer.datasets.balance")
