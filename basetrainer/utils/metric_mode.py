"""Metric modes: whether a metric is better when smaller or larger, as its name says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from basetrainer.errors import ConfigError

Mode = Literal["min", "max"]

_SMALLER_WORDS = """
    loss losses nll ce bce xent entropy crossentropy perplexity ppl bpc bpb bpd
    error errors err errs mae mse rmse nmae nmse nrmse msle rmsle mape smape wape mase mpe sse rss
    l1 l2 silog residual residuals deviation discrepancy
    wer cer mer der ter ser bits edit levenshtein
    eer hter acer apcer bpcer far frr fmr fnmr fpr fnr fdr miss misses mistakes misclassification
    failure failures violation violations collision collisions
    ece mce brier distance distances dist dists divergence kl kld jsd mmd emd wasserstein chamfer
    hausdorff hd hd95 assd asd epe aepe nme mpjpe ate rpe ape ade fde fid kid fvd fad lpips niqe
    regret cost costs penalty latency time runtime duration seconds overhead
"""
_SMALLER = frozenset(_SMALLER_WORDS.split())
"""Words of metrics that are better when smaller."""

_LARGER_WORDS = """
    acc accuracy accuracies auc auroc auprc roc map ap precision recall f1 iou miou dice psnr ssim
    bleu rouge kappa mcc r2 likelihood tar tpr tnr sensitivity specificity similarity correlation
    reward rewards success gain improvement reduction tolerance robustness detection detections
    detected recovery free
"""
_LARGER = frozenset(_LARGER_WORDS.split())
"""Words of metrics that are better when larger. Only those have to be known that stand beside a
word of the other kind (``loss_accuracy``, ``error_free``): ``max`` is the default anyway."""

_SMALLER_ENDS = ("loss", "losses", "error", "errors", "mse", "mae")
"""Ends of words written together: ``celoss``, ``valmse``."""

_NEGATION = frozenset(("neg", "negative", "negated", "minus", "inverse", "inverted", "inv"))
_ONE_MINUS = re.compile(r"\s*(?:1(?:\.0)?|one)\s*(?:-|minus)\s*([a-z0-9]+)\s*", re.IGNORECASE)
_CHUNK = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def mode_of(name: str) -> Mode | None:
    """Return the mode that the name of a metric says, None if it says none.

    The name is split into words at ``_ - / .``, blanks and changes of letter case; the last word
    that is known decides, so ``accuracy_loss`` shrinks and ``loss_accuracy`` grows. What stands
    behind ``@`` or ``at`` is a condition (``TPR@FPR``). A negation turns what shrinks round
    (``neg_mean_squared_error``, ``1-error``). ``nearly_lossless`` says nothing.
    """
    if one_minus := _ONE_MINUS.fullmatch(name):
        rest = mode_of(one_minus[1])
        return rest and ("max" if rest == "min" else "min")
    words = list(_words(name.partition("@")[0] or name))
    for preposition in ("at", "per"):  # images_per_second, seconds_per_step
        if preposition in words[1:-1]:
            words = words[: words.index(preposition, 1)]
    if words[-1:] == ["per"] or "false" in words:
        return "min"  # phone error rate; false positives, alarms, detections
    for place in range(len(words) - 1, -1, -1):
        word, is_negated = words[place], not _NEGATION.isdisjoint(words[:place])
        if word in _LARGER:
            # "negative accuracy" is that of the negatives; likelihoods alone are negated.
            return "min" if is_negated and word == "likelihood" else "max"
        if word in _SMALLER or word.endswith(_SMALLER_ENDS):
            return "max" if is_negated else "min"
    return None


def chosen_mode(mode: str | None, inverse: bool | None = None) -> Mode | None:
    """Return the mode that was asked for, None if none was.

    Args:
        mode: ``min``, ``max`` or None.
        inverse: The old way to say it: True is ``min``, False ``max``, None nothing.

    Raises:
        ConfigError: If ``mode`` is something else, or the two contradict each other.
    """
    if mode not in (None, "min", "max"):
        raise ConfigError(f"mode={mode!r} is neither 'min' (smaller is better) nor 'max'.")
    if inverse is None:
        return mode  # type: ignore[return-value]
    said: Mode = "min" if inverse else "max"
    if mode not in (None, said):
        raise ConfigError(
            f"inverse={inverse!r} and mode={mode!r} contradict each other. Leave one of them out: "
            f"inverse=True is mode='min', smaller is better."
        )
    return said


def _words(name: str) -> Iterator[str]:
    for chunk in _CHUNK.findall(name):
        whole = chunk.lower()
        for word in (whole, whole.removesuffix("s")):  # RMSE, mIoU, MAEs
            if word in _SMALLER or word in _LARGER:
                yield word
                break
        else:
            yield from (part.lower() for part in _CAMEL.findall(chunk))
