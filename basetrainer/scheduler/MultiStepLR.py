"""Old door to :class:`basetrainer.scheduler.classic.MultiStepLR`."""

from basetrainer.scheduler.classic import MultiStepLR

__all__ = ["MultiStepLR"]
