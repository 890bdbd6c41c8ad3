"""AccuracyRecorder: exact counts, report, confusion matrix."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basetrainer.errors import ConfigError, UsageError
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.metric.functional import (
    accuracy,
    class_scores,
    confusion_counts,
    report,
    topk_hits,
)
from tests.tiny import TinyTrainer, tiny_data

QUIET = {"num_epochs": 1, "progress": False}

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=60)


@given(pairs)
def test_the_matrix_counts_each_pair_and_leaves_ignored_samples_out(samples):
    predicted, labels = (torch.tensor(column) for column in zip(*samples, strict=True))
    matrix = confusion_counts(predicted, labels, 5)
    expected = np.zeros((5, 5), dtype=int)
    for guess, label in samples:
        if label >= 0:
            expected[label, guess] += 1
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == expected.tolist()


@given(pairs)
def test_scores_equal_scikit_learns(samples):
    metrics = pytest.importorskip("sklearn.metrics")
    kept = [(guess, label) for guess, label in samples if label >= 0] or [(0, 0)]
    predicted, labels = (torch.tensor(column) for column in zip(*kept, strict=True))
    matrix = confusion_counts(predicted, labels, 5)
    scores = class_scores(matrix)
    expected = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=0
    )
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert scores[name].numpy() == pytest.approx(column, abs=1e-12), name
    assert accuracy(matrix) == pytest.approx(metrics.accuracy_score(labels, predicted))


def test_accuracy_is_in_percent_and_that_of_the_whole_set():
    trainer = TinyTrainer(QUIET, [AccuracyRecorder(indicator="Accuracy")], batch_size=5)
    logs = trainer.run()
    points, labels = tiny_data().tensors
    hits = (trainer.model(points).argmax(1) == labels).float().mean()
    assert logs["test"]["Accuracy"] == pytest.approx(100 * float(hits))


def test_dict_batches_and_tuple_outputs_are_understood():
    class Dicts(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step((inputs["image"], inputs["label"]))
            return (outputs, "more"), loss

        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            points, labels = tiny_data().tensors
            return [{"image": points, "label": labels}]

        build_test_loader = build_train_loader

    logs = Dicts(QUIET, [AccuracyRecorder()]).run()
    assert 0 <= logs["test"]["Acc"] <= 100


class Shares(TinyTrainer):
    """Labels as MixUp makes them: each class's share."""

    shares: Any = ((0.7, 0.3, 0.0), (0.2, 0.0, 0.8))

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        model = super().build_model(cfg)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return model

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return [(torch.zeros(2, 3), torch.tensor(self.shares))]

    build_test_loader = build_train_loader


def test_of_mixed_labels_the_largest_share_counts():
    trainer = Shares(QUIET, [AccuracyRecorder()], lr=0.0)
    assert trainer.run()["test"]["Acc"] == 50.0  # zeros are class 0, and so is one of two labels


def test_several_labels_of_a_sample_are_no_shares():
    class Several(Shares):
        shares = ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    with pytest.raises(UsageError, match=r"counts one class per sample.*do not sum to 1"):
        Several(QUIET, [AccuracyRecorder()]).run()


def test_without_a_test_loader_there_is_no_figure_and_no_error():
    logs = TinyTrainer(QUIET, [AccuracyRecorder()], tests=False).run()
    assert "test" not in logs
    assert "Acc" in logs["train"]


def test_the_report_names_the_classes(caplog):
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        TinyTrainer(QUIET, [AccuracyRecorder(["cat", "dog", "emu"])]).run()
    text = caplog.text
    assert all(name in text for name in ("cat", "dog", "emu", "macro avg", "precision"))


def test_the_confusion_matrix_of_the_best_epoch_is_kept_alone(tmp_path):
    recorder = AccuracyRecorder(["a", "b", "c"], confusion_matrix=tmp_path / "cm")
    trainer = TinyTrainer({**QUIET, "num_epochs": 30}, [recorder], lr=0.3)
    trainer.run()
    files = list((tmp_path / "cm").iterdir())
    assert len(files) == 1
    assert files[0].name.endswith("_100.0000.csv")
    rows = [line.split(",") for line in files[0].read_text().splitlines()]
    assert rows[0] == ["label\\prediction", "a", "b", "c"]
    assert sum(int(value) for row in rows[1:] for value in row[1:]) == 12
    assert recorder.matrix is not None
    assert int(recorder.matrix.diagonal().sum()) == 12


def test_wrong_outputs_and_labels_are_explained():
    class Flat(TinyTrainer):
        def run_step(self, inputs: Any) -> Any:
            outputs, loss = super().run_step(inputs)
            return outputs[0], loss

    with pytest.raises(UsageError, match=r"logits of shape \(samples, classes\)"):
        Flat(QUIET, [AccuracyRecorder()]).run()


def test_large_outputs_are_held_one_at_a_time_and_small_ones_counted_together():
    recorder = AccuracyRecorder()
    tally: Any = recorder.new_tally()
    labels = torch.zeros(2, dtype=torch.long)
    tally.add((None, labels), torch.ones(2, 5), None, 2)
    assert tally.counts is None
    tally.is_empty = False
    tally.settle()
    wide: Any = recorder.new_tally()
    for _ in range(2):
        wide.add((None, labels), torch.zeros(2, 200_000), None, 2)
    assert wide.counts is not None
    assert wide.matrix is None
    assert wide.figures() == {"Acc": 100.0}


def test_the_report_of_an_absent_class_has_zeros_not_nan():
    text = report(torch.tensor([[3, 0], [0, 0]]), ["here", "absent"])
    assert "nan" not in text
    assert "absent     0.0000     0.0000     0.0000          0" in text


def test_topk_counts_labels_among_the_highest_logits():
    class Wide(TinyTrainer):
        def build_model(self, cfg: Any, **kwargs: Any) -> Any:
            return self.build_model_parallel(torch.nn.Linear(3, 7), [0])

    trainer = Wide(QUIET, [AccuracyRecorder(indicator="Accuracy", topk=(2, 5))], batch_size=5)
    logs = trainer.run()
    points, labels = tiny_data().tensors
    order = trainer.model(points).argsort(1, descending=True)
    for k, name in ((1, "Accuracy"), (2, "Accuracy_top2"), (5, "Accuracy_top5")):
        hits = (order[:, :k] == labels[:, None]).any(1).double().mean()
        assert logs["test"][name] == pytest.approx(100 * float(hits))
    assert list(logs["train"]) == ["Accuracy", "Accuracy_top2", "Accuracy_top5"]


def test_topk_leaves_ignored_samples_out():
    tally: Any = AccuracyRecorder(topk=(2,)).new_tally()
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    tally.add((None, torch.tensor([1, 2, -1])), logits, None, 3)
    assert tally.figures() == {"Acc": 0.0, "Acc_top2": 50.0}
    assert topk_hits(logits, torch.tensor([0, 0, 0]), ()) == []


def test_more_guesses_than_classes_are_refused():
    with pytest.raises(UsageError, match="only 3 classes"):
        TinyTrainer(QUIET, [AccuracyRecorder(topk=(5,))]).run()
    with pytest.raises(ConfigError, match="at least 1"):
        AccuracyRecorder(topk=(0,))


def test_a_run_that_goes_on_keeps_the_matrix_of_the_best_epoch_alone(tmp_path):
    def trained(num_epochs: int, state: Any = None) -> tuple[AccuracyRecorder, list[str]]:
        recorder = AccuracyRecorder(confusion_matrix=tmp_path / "cm")
        trainer = TinyTrainer({**QUIET, "num_epochs": num_epochs}, [recorder], lr=0.3)
        if state is not None:
            recorder.load_state_dict(state)
        trainer.run()
        return recorder, [path.name for path in (tmp_path / "cm").iterdir()]

    first, worse = trained(1)
    state = first.state_dict()
    best, better = trained(30, state)
    assert (len(worse), len(better)) == (1, 1)
    assert worse != better
    torch.save(best.state_dict(), tmp_path / "state.pth")
    state = torch.load(tmp_path / "state.pth", weights_only=True)
    assert trained(1, state)[1] == better


def test_the_accuracy_since_the_last_look_counts_each_sample_once():
    found: list[Any] = []

    class Looking(AccuracyRecorder):
        def on_train_summary(self, *args: Any) -> None:
            super().on_train_summary(*args)
            step = args[4]
            if step in (1, 2):
                found.append((self.recent(), self.recent()))

    logs = TinyTrainer(QUIET, [Looking(topk=(2,))]).run()  # three batches of four
    (first, nothing), (last, _) = found[-2:]
    assert nothing == {}
    for name in ("Acc", "Acc_top2"):
        assert (2 * first[name] + last[name]) / 3 == pytest.approx(logs["train"][name])


def test_a_tally_that_goes_on_tells_what_came_since_it_was_last_told():
    def batch(seed: int) -> tuple[Any, Any]:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(3, (8,), generator=generator)
        return (None, labels), torch.randn(8, 3, generator=generator)

    first, second = AccuracyRecorder().new_tally(), AccuracyRecorder().new_tally()
    first.add(*batch(1), None, 8)
    first.recent()
    first.add(*batch(2), None, 8)
    second.load_state_dict(first.state_dict())
    assert second.recent() == first.recent()


def test_counts_can_be_added_to_in_place_also_after_an_evaluation():
    predicted, labels = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, -1])
    whole = confusion_counts(predicted.repeat(2), labels.repeat(2), 3)
    with torch.inference_mode():
        counts = confusion_counts(predicted, labels, 3)
    assert confusion_counts(predicted, labels, 3, into=counts) is counts
    assert torch.equal(counts, whole)


def test_counts_of_a_checkpoint_go_where_the_outputs_are():
    before: Any = AccuracyRecorder().new_tally()
    before.add((None, torch.tensor([0, 1])), torch.eye(2), None, 2)
    tally: Any = AccuracyRecorder().new_tally()
    tally.load_state_dict(before.state_dict())
    meta = torch.device("meta")  # a second device that every machine has
    tally.is_empty = False
    tally.add(
        (None, torch.zeros(2, dtype=torch.long, device=meta)), torch.eye(2, device=meta), 0, 2
    )
    tally.settle()
    assert (tally.counts.device, tally.matrix.device) == (meta, meta)


def test_a_state_that_was_handed_out_counts_no_further():
    tally: Any = AccuracyRecorder().new_tally()
    batch, logits = (None, torch.tensor([0, 1])), torch.eye(2)
    tally.add(batch, logits, None, 2)
    state = tally.state_dict()
    other: Any = AccuracyRecorder().new_tally()
    other.load_state_dict(state)
    for one in (tally, other):
        one.add(batch, logits, None, 2)
        one.settle()
        assert int(one.matrix.sum()) == 4
    assert int(state["matrix"].sum()) == 2


def test_batches_of_changing_sizes_are_counted_in_full():
    tally: Any = AccuracyRecorder().new_tally()
    sizes = [3, 3, 2, 3, 2, 2, 2, 5, 3, 3, 1]
    for size in sizes:
        tally.add((None, torch.zeros(size, dtype=torch.long)), torch.randn(size, 4), None, size)
        tally.is_empty = False
    assert tally.figures()
    assert int(tally.matrix.sum()) == sum(sizes)


POINTS = torch.eye(3).repeat(4, 1)
"""A linear layer of ones on the diagonal takes sample i for class i % 3."""


class Labelled(TinyTrainer):
    """Outputs that are the points themselves, in batches of 3, with labels of one's own."""

    labels: Any
    outputs: Any = staticmethod(lambda points: points)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return list(zip(POINTS.split(3), self.labels.split(3), strict=True))

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_train_loader(cfg)

    def run_step(self, inputs: Any) -> Any:
        loss = self.model(inputs[0]).square().mean()
        return type(self).outputs(inputs[0]), loss


def accuracy_of(labels: Any, outputs: Any = None, **options: Any) -> float:
    parts = {"labels": labels} | ({"outputs": staticmethod(outputs)} if outputs else {})
    trainer = type("Own", (Labelled,), parts)(QUIET, [AccuracyRecorder(**options)])
    logs = trainer.run()
    assert logs["train"]["Acc"] == pytest.approx(logs["test"]["Acc"])
    return float(logs["test"]["Acc"])


RIGHT = torch.arange(12) % 3
ONE_WRONG = torch.where(torch.arange(12) == 10, 0, RIGHT)


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels,
        lambda labels: labels.int(),
        lambda labels: labels.to(torch.uint8),
        lambda labels: labels[:, None],
        lambda labels: labels.float(),
        lambda labels: labels.half()[:, None],
        lambda labels: torch.eye(3)[labels],
        lambda labels: torch.eye(3)[labels].bool(),
        lambda labels: 0.8 * torch.eye(3)[labels] + 0.2 / 3,
    ],
)
def test_labels_of_every_form_are_counted(change):
    assert accuracy_of(change(ONE_WRONG)) == pytest.approx(100 * 11 / 12)


def test_bool_labels_are_two_classes():
    labels = RIGHT == 1  # outputs 0 and 1 of each sample: class 1 where the point is the second
    assert accuracy_of(labels, lambda points: points[:, :2]) == 100.0


def test_negative_labels_and_ignore_index_do_not_count():
    labels = torch.where(torch.arange(12) > 7, -100, ONE_WRONG)
    assert accuracy_of(labels) == 100.0
    labels = torch.where(torch.arange(12) > 7, 255, ONE_WRONG)
    assert accuracy_of(labels, ignore_index=255) == 100.0

    class Ignoring(Labelled):
        def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
            return torch.nn.CrossEntropyLoss(ignore_index=255)

    Ignoring.labels = labels
    assert Ignoring(QUIET, [AccuracyRecorder()]).run()["test"]["Acc"] == 100.0


LATE = torch.arange(12) > 8
"""Samples of the last batch."""


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.where(LATE, 255, RIGHT), r"3 labels are not among the 3 classes.*largest is 255"),
        (torch.where(LATE, 0.5, RIGHT.float()), "3 of them are no whole numbers"),
        (torch.where(LATE, torch.nan, RIGHT.float()), "no whole numbers"),
        (torch.where(LATE[:, None], 1.0, torch.eye(3)[RIGHT]), "3 samples have labels of several"),
        (torch.where(LATE[:, None], 0, torch.eye(3)[RIGHT].long()), "several or none"),
    ],
)
def test_odd_labels_in_any_batch_are_refused_instead_of_counted(labels, said):
    with pytest.raises(UsageError, match=said):
        accuracy_of(labels)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (lambda points: points[:, :1], "an output for each class"),
        (lambda points: points[:, 0], "logits of shape"),
        (lambda points: points[:, :, None, None], "logits of shape"),
    ],
)
def test_outputs_without_a_column_for_each_class_are_refused(outputs, said):
    with pytest.raises(UsageError, match=said):
        accuracy_of(RIGHT, outputs)


def test_outputs_with_nan_are_misses_and_said_once(caplog):
    def spoilt(points: torch.Tensor) -> torch.Tensor:
        return torch.where(points[:, :1] > 0, torch.nan, points)  # class 0, in each batch

    with caplog.at_level(logging.WARNING, logger="basetrainer"):
        assert accuracy_of(RIGHT, spoilt) == pytest.approx(100 * 8 / 12)
    assert "NaN; each counts as a miss" in caplog.text


def test_a_shape_that_changes_within_an_epoch_is_refused_in_words():
    class Changing(Labelled):
        def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return [(POINTS[:3], RIGHT[:3]), (POINTS[3:6], RIGHT[:2])]

        def loss_count(self, inputs: Any, outputs: Any, losses: Any) -> float:
            return 3

    with pytest.raises(UsageError, match=r"one class index per sample, shape \(3,\)"):
        Changing(QUIET, [AccuracyRecorder()]).run()


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_file_of_class_names_has_one_a_line(tmp_path, as_type):
    file = tmp_path / "classes.txt"
    file.write_text("\ufefftraffic light\n\n stop sign \ncar\n", encoding="utf-8")
    names = AccuracyRecorder(as_type(file)).target_names
    assert names == ["traffic light", "stop sign", "car"]
    with pytest.raises(ConfigError, match="no such file"):
        AccuracyRecorder(as_type(tmp_path / "none.txt"))
