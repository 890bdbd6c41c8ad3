"""Old door to :class:`basetrainer.scheduler.step_value.MultiStepValue`."""

from basetrainer._deprecated import warn_moved
from basetrainer.scheduler.step_value import MultiStepValue

__all__ = ["MultiStepValue"]

warn_moved(__name__, "basetrainer.scheduler.step_value")
