"""Old door to the cosines of :mod:`basetrainer.scheduler.classic`."""

from basetrainer._deprecated import warn_moved
from basetrainer.scheduler.classic import CosineAnnealingLR, CosineLR

__all__ = ["CosineAnnealingLR", "CosineLR"]

warn_moved(__name__, "basetrainer.scheduler.classic")
