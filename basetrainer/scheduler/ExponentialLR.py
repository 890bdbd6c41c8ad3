"""Old door to :class:`basetrainer.scheduler.classic.ExponentialLR`."""

from basetrainer.scheduler.classic import ExponentialLR

__all__ = ["ExponentialLR"]
