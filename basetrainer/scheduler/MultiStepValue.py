"""Old door to :class:`basetrainer.scheduler.step_value.MultiStepValue`."""

from basetrainer.scheduler.step_value import MultiStepValue

__all__ = ["MultiStepValue"]
