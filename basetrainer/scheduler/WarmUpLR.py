"""Old door to :class:`basetrainer.scheduler.classic.WarmUpLR`."""

from basetrainer._deprecated import warn_moved
from basetrainer.scheduler.classic import WarmUpLR

__all__ = ["WarmUpLR"]

warn_moved(__name__, "basetrainer.scheduler.classic")
