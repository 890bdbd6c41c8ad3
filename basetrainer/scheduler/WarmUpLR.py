"""Old door to :class:`basetrainer.scheduler.classic.WarmUpLR`."""

from basetrainer.scheduler.classic import WarmUpLR

__all__ = ["WarmUpLR"]
