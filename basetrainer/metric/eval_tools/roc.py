"""Old door: ROC curves, now a message that says where they are."""

from __future__ import annotations

from typing import NoReturn

_MESSAGE = (
    "basetrainer.metric.eval_tools.roc has no {name!r}: ROC curves are drawn by scikit-learn. Use "
    "roc_curve, roc_auc_score and RocCurveDisplay "
    "of sklearn.metrics (pip install scikit-learn)."
)


def __getattr__(name: str) -> NoReturn:
    """Say what to use instead of a function that was here."""
    if name.startswith("__"):
        raise AttributeError(name)  # Python itself asks for these
    raise ImportError(_MESSAGE.format(name=name))
