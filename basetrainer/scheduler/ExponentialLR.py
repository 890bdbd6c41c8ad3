"""Old door to :class:`basetrainer.scheduler.classic.ExponentialLR`."""

from basetrainer._deprecated import warn_moved
from basetrainer.scheduler.classic import ExponentialLR

__all__ = ["ExponentialLR"]

warn_moved(__name__, "basetrainer.scheduler.classic")
