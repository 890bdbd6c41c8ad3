"""Pictures of a run: drawn at new bests and at the end, in the right folder, never in the way."""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from basetrainer.callbacks.history.eval_plots import Scene
from basetrainer.callbacks.history.part import EpochSummary, HistoryPart, HistoryStart
from basetrainer.callbacks.history.pictures import Pictures
from basetrainer.callbacks.history.samples import SampleCollector, Samples, normalisation_of
from basetrainer.callbacks.log_history import LogHistory
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.datasets.transforms import get_transforms
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from basetrainer.plots.curves import draw_curves
from tests.callbacks.events import accumulator
from tests.tiny import TinyTrainer

pytest.importorskip("matplotlib")
NAMES = ["ant", "bee", "cat"]


def run(tmp_path: Path, num_epochs: int = 2, **more: Any) -> TinyTrainer:
    work_dir = tmp_path / "run"
    cfg = {"num_epochs": num_epochs, "progress": False, "work_dir": str(work_dir)}
    callbacks = [LossesRecorder(), AccuracyRecorder(NAMES), LogHistory(work_dir / "log", **more)]
    trainer = TinyTrainer(cfg, callbacks)
    trainer.run()
    return trainer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def test_a_run_leaves_its_pictures_in_its_folder(tmp_path):
    run(tmp_path)
    assert names(tmp_path / "run") == ["confusion_matrix.png", "curves.png"]
    found = accumulator(tmp_path / "run" / "log").Images("confusion_matrix")
    assert [one.step for one in found] == [1]
    shown = Image.open(io.BytesIO(found[0].encoded_image_string))
    with Image.open(tmp_path / "run" / "confusion_matrix.png") as picture:
        assert np.array_equal(np.asarray(shown), np.asarray(picture))


def test_without_a_work_dir_they_lie_in_the_log_folder(tmp_path):
    cfg = {"num_epochs": 1, "progress": False}
    TinyTrainer(cfg, [LossesRecorder(), LogHistory(tmp_path / "log")]).run()
    assert names(tmp_path / "log") == ["curves.png"]
    assert names(tmp_path) == []


def test_they_can_be_switched_off(tmp_path):
    run(tmp_path, pictures=False)
    assert not names(tmp_path / "run")


class Clock:
    """A clock that goes on in each evaluation."""

    now = 0.0
    of_an_epoch = 30.0

    def __call__(self) -> float:
        return self.now


class Scored(TinyTrainer):
    """Its accuracy in each epoch is given; it writes down when pictures were drawn."""

    def __init__(self, scores: Sequence[float], folder: Path, clock: Clock, **cfg: Any) -> None:
        self.scores = scores
        self.clock = clock
        super().__init__({"num_epochs": len(scores), "progress": False, **cfg})
        saver = ModelCheckpoint(self.model, None, folder / "m", 9, 0, indicator="Score")
        self.callbacks = [AccuracyRecorder(NAMES), LogHistory(folder), saver]

    def on_test_end(self, logs: Any = None) -> None:
        super().on_test_end(logs)
        logs["test"]["Score"] = self.scores[self.epoch]
        self.clock.now += self.clock.of_an_epoch


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int | None]]:
    """When something was drawn, and the epoch of the scene that was."""
    found: list[tuple[float, int | None]] = []
    original = Pictures.draw

    def draw(self: Pictures) -> None:
        scene = None if self._scene is None or self._is_drawn else self._scene.epoch
        found.append((self._clock(), scene))
        original(self)

    monkeypatch.setattr(Pictures, "draw", draw)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(
        Pictures.__init__,
        "__kwdefaults__",
        {"clock": made},
    )
    return made


def test_new_bests_are_drawn_and_the_end_shows_the_best(tmp_path, drawn, clock):
    Scored([1, 3, 2, 3], tmp_path, clock).run()
    assert drawn == [(30.0, 0), (60.0, 1), (120.0, None)]
    steps = [one.step for one in accumulator(tmp_path).Images("confusion_matrix")]
    assert steps == [0, 1]


def test_drawing_takes_at_most_a_twentieth_of_the_time(tmp_path, drawn, clock, monkeypatch):
    def slow(runs: Any) -> Any:
        clock.now += 5.0  # so none for 100 seconds
        return draw_curves(runs)

    monkeypatch.setattr("basetrainer.callbacks.history.pictures.draw_curves", slow)
    Scored([1, 2, 3, 4, 5, 4], tmp_path, clock).run()
    assert [(round(now), epoch) for now, epoch in drawn] == [(30, 0), (155, 4), (190, None)]


def test_a_best_that_was_not_drawn_is_drawn_at_the_end(tmp_path, drawn, clock):
    clock.of_an_epoch = 5.0  # the first picture is due after twenty seconds
    Scored([1, 2, 1], tmp_path, clock).run()
    assert drawn == [(15.0, 1)]


def test_a_run_that_goes_on_keeps_the_matrix_of_the_best_epoch_before(tmp_path, drawn, clock):
    first = Scored([9, 1], tmp_path, clock)
    first.run()
    picture = (tmp_path / "confusion_matrix.png").read_bytes()
    again = Scored([9, 1, 2], tmp_path, clock)
    again.callbacks[1].load_state_dict(first.callbacks[1].state_dict())
    again.position.load_state_dict({"epoch": 2, "step": 0, "update": 6})
    again.run()
    assert (tmp_path / "confusion_matrix.png").read_bytes() == picture
    assert drawn[-1][1] is None


def test_without_matplotlib_one_line_says_so(tmp_path, monkeypatch, caplog):
    original = importlib.import_module

    def absent(module: str, *more: Any, **named: Any) -> Any:
        if module.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {module!r}", name="matplotlib")
        return original(module, *more, **named)

    monkeypatch.setattr(importlib, "import_module", absent)
    with caplog.at_level(logging.INFO, logger="basetrainer"):
        run(tmp_path)
    said = [text for text in caplog.messages if "matplotlib" in text]
    assert len(said) == 1
    assert "[plots]'" in said[0]
    assert "basetrainer plot" in said[0]
    assert not names(tmp_path / "run")


def test_a_picture_that_cannot_be_drawn_ends_no_run(tmp_path, monkeypatch, caplog):
    def broken(runs: Any) -> Any:
        raise ValueError("no canvas")

    monkeypatch.setattr("basetrainer.callbacks.history.pictures.draw_curves", broken)
    run(tmp_path)
    assert [text for text in caplog.messages if "picture" in text] == [
        "no pictures: ValueError: no canvas"
    ]


def test_several_test_sets_have_a_matrix_each(tmp_path):
    class Several(TinyTrainer):
        def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
            return {name: self._loader("test") for name in ("clean", "noisy")}

    cfg = {"num_epochs": 1, "progress": False}
    Several(cfg, [LossesRecorder(), AccuracyRecorder(), LogHistory(tmp_path)]).run()
    expected = ["confusion_matrix_clean.png", "confusion_matrix_noisy.png", "curves.png"]
    assert names(tmp_path) == expected
    assert accumulator(tmp_path).Tags()["images"] == [
        "confusion_matrix/clean",
        "confusion_matrix/noisy",
    ]


def test_test_images_are_shown_with_their_classes(tmp_path):
    images = TensorDataset(torch.rand(12, 3, 8, 8), torch.arange(12) % 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    cfg = {"num_epochs": 1, "progress": False, "class_name": NAMES}
    history = LogHistory(tmp_path)
    TinyTrainer(cfg, [AccuracyRecorder(), history], data=images, model=model).run()
    assert [one.step for one in accumulator(tmp_path).Images("test_images")] == [0]


def test_names_of_the_settings_stand_in_for_those_of_the_recorder(tmp_path):
    for given, expected in (
        (None, ["0", "1", "2"]),
        (["x"], ["x", "1", "2"]),
        ([*NAMES, "dog"], NAMES),
    ):
        recorder = AccuracyRecorder()
        trainer = TinyTrainer({"progress": False, "class_name": given}, [recorder])
        assert Scene.of(trainer, 0, {}, is_best=True).names(3) == expected
        recorder.target_names = ["a", "b", "c"]
        assert Scene.of(trainer, 0, {}, is_best=True).names(3) == ["a", "b", "c"]


def test_images_are_spread_over_the_test_set():
    logits = torch.eye(4)
    for num_batches, batches in ((4, [0, 1, 2, 3]), (40, list(range(0, 32, 2))), (0, [0, 1, 2, 3])):
        collector = SampleCollector(num_batches)
        seen = []
        for batch in range(num_batches or 5):
            before = len(collector.held)
            collector.see(batch, (torch.rand(4, 1, 2, 2), torch.arange(4)), (logits, None))
            seen += [batch] * (len(collector.held) - before)
        assert seen == batches
        assert sum(len(one.labels) for one in collector.held) == 16


@pytest.mark.parametrize(
    ("images", "norm", "pixel"),
    [
        (torch.full((1, 3, 2, 2), 51, dtype=torch.uint8), ((0.5,) * 3, (0.5,) * 3), 0.2),
        (torch.full((1, 3, 2, 2), -0.6), ((0.5,) * 3, (0.5,) * 3), 0.2),
        (torch.full((1, 1, 2, 2), 0.2), None, 0.2),
        (torch.tensor([51.0, 255.0]).view(1, 1, 1, 2), None, 0.2),
        (torch.tensor([-3.0, 0.0, 2.0]).view(1, 1, 1, 3), None, 0.0),
    ],
)
def test_pixels_are_brought_back_to_what_people_see(images, norm, pixel):
    samples = Samples.of((images, torch.zeros(1)), torch.ones(1, 2), 1)
    assert samples is not None
    found = samples.pixels(norm)
    assert found.shape[-1] == images.shape[1]
    assert found[0, 0, 0, 0] == pytest.approx(pixel)
    assert 0 <= found.min() <= found.max() <= 1


def test_large_images_are_thinned_out_and_batches_without_images_are_none():
    labels, logits = torch.zeros(2), torch.ones(2, 3)
    samples = Samples.of({"image": torch.rand(2, 3, 600, 400), "label": labels}, logits, 1)
    assert samples is not None
    assert samples.images.shape == (1, 3, 200, 134)
    for inputs in (
        torch.rand(2, 3),
        (torch.rand(2, 3, 4, 4),),
        {"x": 1},
        (torch.rand(2, 5), labels),
    ):
        assert Samples.of(inputs, logits, 1) is None


def test_the_normalisation_is_found_in_the_dataset_or_in_the_settings():
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms

    class Data(TensorDataset):
        transform: Any = None

    data = Data(torch.zeros(2))
    loader = DataLoader(Subset(data, [0]))
    assert normalisation_of(loader, {}) is None
    settings = {"rgb_mean": [0.5] * 3, "rgb_std": [0.25] * 3}
    assert normalisation_of(loader, settings) == ([0.5] * 3, [0.25] * 3)
    data.transform = transforms.Compose([transforms.Normalize([0.1], [0.2])])
    assert normalisation_of(loader, settings) == ([0.1], [0.2])
    data.transform = get_transforms(None, [4, 4], train=False)
    found = normalisation_of(loader, None)
    assert found is not None
    np.testing.assert_allclose(np.ravel(found[0]), [0.485, 0.456, 0.406], rtol=1e-6)
    assert normalisation_of(None, None) is None


class Counts(HistoryPart):
    """Pictures of a task of its own: how many outputs each evaluation had."""

    def __init__(self, start: HistoryStart, engine: Any) -> None:
        self._file = start.log_dir / "counts.txt"
        self._outputs = 0

    def on_test_summary(self, engine: Any, batch: int, inputs: Any, outputs: Any) -> None:
        self._outputs += len(outputs)

    def on_epoch_end(self, engine: Any, summary: EpochSummary) -> None:
        with self._file.open("a") as file:
            file.write(f"{summary.epoch} {self._outputs} {summary.is_tested}\n")

    def on_train_end(self, engine: Any) -> None:
        with self._file.open("a") as file:
            file.write(f"end {engine.position.epoch}\n")


def test_a_task_draws_pictures_of_its_own_and_keeps_the_rest(tmp_path):
    trainer = run(tmp_path, pictures=Counts)
    log_dir = tmp_path / "run" / "log"
    tests = trainer.test_num
    lines = (log_dir / "counts.txt").read_text().splitlines()
    assert lines == [f"0 {tests} True", f"1 {2 * tests} True", "end 2"]
    assert not names(tmp_path / "run")
    assert len((log_dir / "results.csv").read_text().splitlines()) == 3
    assert accumulator(log_dir).Tags()["scalars"]
