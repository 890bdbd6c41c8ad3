"""Old door to :class:`basetrainer.scheduler.classic.MultiStepLR`."""

from basetrainer._deprecated import warn_moved
from basetrainer.scheduler.classic import MultiStepLR

__all__ = ["MultiStepLR"]

warn_moved(__name__, "basetrainer.scheduler.classic")
