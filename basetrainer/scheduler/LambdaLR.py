"""Old door to :class:`basetrainer.scheduler.classic.LambdaLR`."""

from basetrainer._deprecated import warn_moved
from basetrainer.scheduler.classic import LambdaLR

__all__ = ["LambdaLR"]

warn_moved(__name__, "basetrainer.scheduler.classic")
