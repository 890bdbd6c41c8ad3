"""Old door to the cosines of :mod:`basetrainer.scheduler.classic`."""

from basetrainer.scheduler.classic import CosineAnnealingLR, CosineLR

__all__ = ["CosineAnnealingLR", "CosineLR"]
