"""mode_of: what the name of a metric says; chosen_mode: what was asked for."""

from __future__ import annotations

import pytest

from basetrainer.errors import ConfigError
from basetrainer.utils.metric_mode import chosen_mode, mode_of

SMALLER = """
loss Loss val_loss val_loss/total train.loss loss-box loss1 CELoss MSELoss celoss Closs valLoss
MAE mae MAEs logMAE rmse RMSE nll NLL perplexity ppl wer WER CER PER eer FID fid err ERR error
errors errorRate top1_error top-1-error word_error_rate absolute_error mean_dist distance hd95 epe
EPE nme mape ECE brier brier_score hter FAR frr far@0.1 false_positive_rate accuracy_loss latency
per-token-latency time_per_step bits_per_char negative_log_likelihood 1-SSIM
""".split()  # noqa: SIM905 # a list of words
LARGER = """
Acc Accuracy accuracy mAP mAP50 mIoU loss_accuracy error_free errorFree error_detection 1-error
neg_log_loss neg_mean_squared_error inverse_distance log_likelihood TPR@FPR=1e-4 tpr_at_far
recall_at_1 loss_reduction distillation_acc neg_acc
""".split()  # noqa: SIM905
SILENT = """
lossless score fig fps images_per_second terrorist flower faraway explained_variance glossiness
""".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("names", "mode"), [(SMALLER, "min"), (LARGER, "max"), (SILENT, None)], ids=str
)
def test_the_last_known_word_of_a_name_decides(names, mode):
    assert {name: mode_of(name) for name in names} == dict.fromkeys(names, mode)


def test_blanks_and_names_without_a_letter_are_no_obstacle():
    assert mode_of("mean absolute error") == "min"
    assert mode_of("1 - error") == "max"
    assert mode_of("loss (val)") == "min"
    assert [mode_of(name) for name in ("", "@", "___", "损失", "42")] == [None] * 5


@pytest.mark.parametrize(
    ("mode", "inverse", "chosen"),
    [
        (None, None, None),
        ("min", None, "min"),
        (None, True, "min"),
        (None, False, "max"),
        ("max", False, "max"),
    ],
)
def test_what_was_given_is_taken(mode, inverse, chosen):
    assert chosen_mode(mode, inverse) == chosen


def test_what_contradicts_itself_or_is_no_mode_is_refused():
    with pytest.raises(ConfigError, match="mode='least' is neither"):
        chosen_mode("least")
    with pytest.raises(ConfigError, match="contradict each other"):
        chosen_mode("max", inverse=True)
