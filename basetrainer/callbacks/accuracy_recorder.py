"""Old door: AccuracyRecorder at the path that existing programs import."""

from basetrainer._deprecated import warn_moved
from basetrainer.metric.accuracy_recorder import AccuracyRecorder

__all__ = ["AccuracyRecorder"]

warn_moved(__name__, "basetrainer.metric.accuracy_recorder")
