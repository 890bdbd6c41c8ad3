"""Old door to :class:`basetrainer.scheduler.classic.LambdaLR`."""

from basetrainer.scheduler.classic import LambdaLR

__all__ = ["LambdaLR"]
