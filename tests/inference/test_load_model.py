"""load_model, and the commands test and predict: the best network gives the run's own figures."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import folder
from torchvision.transforms import v2

import basetrainer as bt
from basetrainer.__main__ import main
from basetrainer.callbacks.model_checkpoint import ModelCheckpoint
from basetrainer.callbacks.weights.preparation import preparation_of
from basetrainer.checkpoint.sidecar import NAME, Sidecar
from basetrainer.datasets.build_datasets import open_dataset
from basetrainer.datasets.decode import read_tensor
from basetrainer.datasets.digits import write_digits
from basetrainer.datasets.transforms import get_transforms
from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.inference.load_model import prepare
from basetrainer.utils import setup_config
from tests.tiny import TinyTrainer

PIXELS: dict[str, Any] = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.2]}


class Trainer(bt.EngineTrainer):
    """A small network of torchvision on a few digits."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        setup_config.create_workspace(cfg, ["digits"])
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        transform = get_transforms("test", cfg.input_size, **PIXELS)
        self.data = open_dataset(cfg.train_data, transform)
        return self.build_dataloader(self.data, 10, 0, drop_last=True)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        transform = get_transforms(cfg.test_transform, cfg.input_size, train=False, **PIXELS)
        data = open_dataset(cfg.test_data, transform, like=self.data)
        return self.build_dataloader(data, 10, 0, False, phase="test")

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        net = bt.get_models("shufflenet_v2", cfg.input_size, 10, 0.5, pretrained=False)
        return self.build_model_parallel(net)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.1)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        saver = ModelCheckpoint(self.model, self.optimizer, cfg.model_dir, 1, indicator="Acc")
        return [bt.AccuracyRecorder(), saver]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder of a run, and the figures of its test."""
    folder = tmp_path_factory.mktemp("trained")
    digits = write_digits(folder / "digits")
    for split in ("train", "test"):
        for images in (digits / split).iterdir():
            for image in sorted(images.iterdir())[4:]:
                image.unlink()
    before = Path.cwd()
    os.chdir(folder)
    cfg = setup_config.dict2easy(
        {
            "work_dir": "runs",
            "resume": "auto",
            "ema_decay": 0.5,
            "input_size": [32, 32],
            "test_transform": [{"resize": {"size": [32, 32]}}],
            "train_data": str(digits / "train"),
            "test_data": str(digits / "test"),
            "progress": False,
        }
    )
    try:
        logs = Trainer(cfg).run()
        yield folder / "runs" / "digits", {**logs["test"], "images": digits / "test"}
    finally:
        os.chdir(before)


def test_the_sidecar_says_how_the_best_weights_are_used(trained):
    run, figures = trained
    sidecar, weights = Sidecar.read(run)
    assert weights == next((run / "model").glob("best_model_000_*.pth"))
    assert (sidecar.epoch, sidecar.indicator, sidecar.figure) == (0, "Acc", figures["Acc"])
    assert sidecar.are_averaged
    assert sidecar.net["net_type"] == "shufflenet_v2"
    assert sidecar.class_names == [str(digit) for digit in range(10)]
    assert sidecar.input_size == [32, 32]
    assert sidecar.mean == pytest.approx(PIXELS["mean"])
    assert sidecar.std == pytest.approx(PIXELS["std"])
    assert sidecar.transform == [{"resize": {"size": [32, 32]}}]


def test_the_loaded_network_scores_what_the_run_scored(trained, capsys):
    run, figures = trained
    assert main(["test", str(run), "--json", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)["test"]
    assert told["accuracy"] == figures["Acc"]
    assert told["images"] == 40
    assert main(["test", str(run), "--data", str(figures["images"])]) == 0
    out = capsys.readouterr().out
    assert out.startswith("test: best_model_000_")
    assert f"accuracy     {figures['Acc'] / 100:.4f}" in out


def test_predict_tells_the_classes_of_images_as_table_json_and_picture(trained, capsys):
    run, figures = trained
    images = figures["images"]
    assert main(["predict", str(run), str(images), "--topk", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 40
    assert all(len(one["classes"]) == 3 for one in found)
    hits = [one["classes"][0] == Path(one["path"]).parent.name for one in found]
    assert 100.0 * sum(hits) / len(hits) == figures["Acc"]
    pytest.importorskip("matplotlib")
    first = found[0]["path"]
    assert main(["predict", str(run), first, "--picture", "one.png"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == [first, found[0]["classes"][0]]
    assert Path("one.png").read_bytes().startswith(b"\x89PNG")


def test_load_model_gives_network_preprocessing_and_classes_in_python(trained):
    run, figures = trained
    loaded = bt.load_model(run, device="cpu")
    assert not loaded.model.training
    (one,) = loaded.predict([next(Path(figures["images"], "3").iterdir())], topk=20)
    assert sorted(one.classes) == sorted(loaded.class_names)
    assert sum(one.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert one.index == int(one.classes[0])


def test_a_pruned_network_is_rebuilt_from_its_file(tmp_path, trained):
    pytest.importorskip("torch_pruning")
    run, _ = trained
    net = bt.get_models("resnet18", [32, 32], 10, pretrained=False)
    small = bt.model_pruning(net, [32, 32], 0.5, backend="torch_pruning")
    torch.save(small.state_dict(), tmp_path / "small.pth")
    sidecar, _ = Sidecar.read(run)
    dataclasses.replace(sidecar, weights="small.pth").write(tmp_path)
    loaded = bt.load_model(tmp_path, device="cpu")
    sizes = [sum(one.numel() for one in each.parameters()) for each in (loaded.model, small)]
    assert sizes[0] == sizes[1]


def tiny_run(folder: Path) -> Path:
    """A run of a network that get_models did not make, and without images."""
    trainer = TinyTrainer({"num_epochs": 1, "progress": False})
    saver = ModelCheckpoint(
        trainer.model, trainer.optimizer, folder, 1, indicator="loss", mode="min"
    )
    trainer.callbacks = [bt.LossesRecorder(), saver]
    trainer.run()
    return folder


def test_a_network_of_the_users_own_is_given_to_load_model(tmp_path):
    run = tiny_run(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"load_model\(run, model\)"):
        bt.load_model(run)
    loaded = bt.load_model(run, nn.Linear(3, 3), device="cpu")
    assert loaded.sidecar.class_names == []
    assert loaded.class_name(2) == "2"
    assert loaded.logits(torch.ones(2, 3)).shape == (2, 3)
    Path("a.png").touch()
    with pytest.raises(ConfigError, match="prepared its test images is not known"):
        next(loaded.predict(["a.png"]))
    with pytest.raises(CheckpointError, match="does not fit Linear"):
        bt.load_model(run, nn.Linear(2, 3))


def test_a_run_without_a_best_model_or_with_a_damaged_sidecar_says_so(tmp_path, capsys):
    assert main(["predict", str(tmp_path), "a.png"]) == 2
    assert f"{tmp_path} has no weights.json" in capsys.readouterr().err
    run = tiny_run(tmp_path / "model")
    text = (run / NAME).read_text()
    next(run.glob("best_model_*")).unlink()
    with pytest.raises(CheckpointError, match="which is gone"):
        Sidecar.read(tmp_path)
    for damaged in (text[:20], "[]", "{}", text.replace('"epoch"', '"epok"')):
        (run / NAME).write_text(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            Sidecar.read(tmp_path)
    (run / NAME).write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match="update basetrainer"):
        Sidecar.read(tmp_path)


def test_weights_outside_of_the_folder_are_not_read(tmp_path):
    Sidecar(weights="../../etc/secret.pth", epoch=0, indicator="a", figure=0.0).write(tmp_path)
    with pytest.raises(CheckpointError, match=r"names secret.pth, which is gone"):
        Sidecar.read(tmp_path)


def test_images_that_are_not_there_and_runs_without_test_data_say_so(trained, tmp_path, capsys):
    run, _ = trained
    (tmp_path / "empty").mkdir()
    for path, message in (("absent.png", "There is no image"), ("empty", "has no images")):
        assert main(["predict", str(run), path, "--device", "cpu"]) == 2
        assert message in capsys.readouterr().err
    (run / "setup_config.yaml").rename(run / "aside.yaml")
    try:
        assert main(["test", str(run), "--device", "cpu"]) == 2
        assert "Name it with --data" in capsys.readouterr().err
    finally:
        (run / "aside.yaml").rename(run / "setup_config.yaml")


@pytest.mark.parametrize("generation", ["first", "second"])
def test_images_prepared_by_torchvision_are_prepared_so_again(tmp_path, trained, generation):
    run, figures = trained
    if generation == "first":
        to_unit: list[Any] = [transforms.ToTensor()]
        kinds: Any = transforms
    else:
        to_unit = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        kinds = v2
    steps = [kinds.Resize((32, 40)), kinds.CenterCrop(28), *to_unit]
    compose = kinds.Compose([*steps, kinds.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.2])])
    images = folder.ImageFolder(figures["images"], compose)
    found = preparation_of(DataLoader(Subset(images, range(4)), 2), {}, [64, 64])
    assert found is not None
    assert found.input_size == [28, 28]
    sidecar, _ = Sidecar.read(run)
    made = dataclasses.replace(sidecar, **dataclasses.asdict(found))
    path, _ = images.samples[0]
    chain = prepare(made)
    assert chain is not None
    again = chain(read_tensor(path))
    assert again.shape == (3, 28, 28)
    torch.testing.assert_close(again, images[0][0], rtol=0, atol=2 / 255 / 0.2)


def test_a_transform_of_the_users_own_is_not_guessed_but_can_be_given(trained):
    run, figures = trained
    own = [transforms.Resize((32, 32)), transforms.Grayscale(3), transforms.ToTensor()]
    images = folder.ImageFolder(figures["images"], transforms.Compose(own))
    assert preparation_of(DataLoader(images), {}, [32, 32]) is None
    no_unit = folder.ImageFolder(figures["images"], transforms.Resize((32, 32)))
    assert preparation_of(DataLoader(no_unit), {}, [32, 32]) is None
    by_name = open_dataset(figures["images"], get_transforms(["center_crop"], [24, 24]))
    found = preparation_of(DataLoader(by_name), {}, [24, 24])
    assert found is not None
    assert found.transform == [{"center_crop": {"size": [24, 24]}}]
    loaded = bt.load_model(run, device="cpu", transform=transforms.Compose(own))
    (one,) = loaded.predict([images.samples[0][0]])
    assert one.classes[0] in loaded.class_names


def test_predict_goes_past_a_broken_image_names_it_and_ends_with_1(trained, tmp_path, capsys):
    run, figures = trained
    folder = tmp_path / "some"
    folder.mkdir()
    good = next(Path(figures["images"], "3").iterdir())
    for name in ("a", "c"):
        (folder / f"{name}{good.suffix}").write_bytes(good.read_bytes())
    (folder / "b.png").write_bytes(b"no image")
    assert main(["predict", str(run), str(folder), "--json"]) == 1
    said = capsys.readouterr()
    assert [Path(one["path"]).stem for one in json.loads(said.out)] == ["a", "c"]
    assert "b.png" in said.err
    assert main(["predict", str(run), str(folder / "b.png"), "--picture", "p.png"]) == 1
