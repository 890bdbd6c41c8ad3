"""Old door: AccuracyRecorder at the path that existing programs import."""

from basetrainer.metric.accuracy_recorder import AccuracyRecorder

__all__ = ["AccuracyRecorder"]
