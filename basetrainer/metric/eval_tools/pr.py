"""Old door: precision-recall curves, now a message that says where they are."""

from __future__ import annotations

from typing import NoReturn

_MESSAGE = (
    "basetrainer.metric.eval_tools.pr has no {name!r}: precision-recall curves are "
    "drawn by scikit-learn. Use "
    "precision_recall_curve, average_precision_score and PrecisionRecallDisplay "
    "of sklearn.metrics (pip install scikit-learn)."
)


def __getattr__(name: str) -> NoReturn:
    """Say what to use instead of a function that was here."""
    if name.startswith("__"):
        raise AttributeError(name)  # Python itself asks for these
    raise ImportError(_MESSAGE.format(name=name))
