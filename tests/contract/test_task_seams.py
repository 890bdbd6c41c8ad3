"""Detection, segmentation and pose: what their trainers need of the engine is there.

A tiny network learns to find one square in an image: its box, its pixels and its corners, from dict
batches with several boxes an image, through transforms of torchvision v2 and ``Collation``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.ops import box_iou

from basetrainer.callbacks.multi_losses_recorder import MultiLossesRecorder
from basetrainer.data.collation import Collation
from basetrainer.datasets.transforms import get_transforms
from basetrainer.engine.trainer import EngineTrainer
from basetrainer.models.summary import model_summary

SIZE = 24


class Squares(Dataset[dict[str, Any]]):
    """One to three squares on noise, uint8; with boxes, a mask of each, and corners."""

    def __init__(self, num: int, transform: Any) -> None:
        self.num, self.transform = num, transform

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 60, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        boxes, masks, corners = [], [], []
        for _ in range(1 + index % 3):
            x, y = torch.randint(0, SIZE - 8, (2,), generator=generator).tolist()
            image[:, y : y + 8, x : x + 8] = 220
            boxes.append([x, y, x + 8, y + 8])
            masks.append(torch.zeros(SIZE, SIZE, dtype=torch.bool))
            masks[-1][y : y + 8, x : x + 8] = True
            corners.append([[x, y], [x + 8, y + 8]])
        size: Any = {"canvas_size": (SIZE, SIZE)}
        sample = {
            "image": tv_tensors.Image(image),
            "boxes": tv_tensors.BoundingBoxes(torch.tensor(boxes), format="XYXY", **size),
            "masks": tv_tensors.Mask(torch.stack(masks)),
            "corners": tv_tensors.KeyPoints(torch.tensor(corners), **size),
            "label": torch.ones(len(boxes), dtype=torch.int64),
            "id": f"image {index}",
        }
        transformed: dict[str, Any] = self.transform(sample)
        return transformed


class Finder(nn.Module):
    """A score of each pixel, and how far its box and corners are: (N, 1 + 4 + 4, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 9, 9, padding=4)
        )

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.body(images)
        return maps


class TaskTrainer(EngineTrainer):
    def __init__(self, cfg: Any, callbacks: Any) -> None:
        super().__init__(cfg)
        self.given = callbacks
        self.build(cfg)

    def _loader(self, num: int, phase: str, **options: Any) -> Any:
        steps: list[Any] = ["flip", {"affine": {"degrees": 0}}, "clamp_boxes", "sanitize_boxes"]
        transform = get_transforms(steps if phase == "train" else [], [SIZE, SIZE])
        return self.build_dataloader(
            Squares(num, transform),
            6,
            self.cfg.get("num_workers", 0),
            collate_fn=Collation(),
            phase=phase,
            **options,
        )

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self._loader(32, "train")

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self._loader(8, "test", shuffle=False)

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(Finder(), self.config.gpu_id)

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return torch.optim.Adam(self.model.parameters(), lr=3e-3)

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.BCEWithLogitsLoss()

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return self.given

    def run_step(self, inputs: Any) -> Any:
        self.batch = inputs
        maps = self.model(inputs["image"])
        truth = torch.stack([masks.any(0) for masks in inputs["masks"]]).float()
        losses = {"mask": self.criterion(maps[:, 0], truth)}
        for name, at in (("boxes", 1), ("corners", 5)):
            parts = []
            for index, targets in enumerate(inputs[name]):
                flat = targets.reshape(len(targets), 4).float() / SIZE
                centers = (flat[:, :2] + flat[:, 2:]).mul(SIZE / 2).long().clamp(0, SIZE - 1)
                found = maps[index, at : at + 4, centers[:, 1], centers[:, 0]].T
                found = found + centers.repeat(1, 2) / SIZE
                parts.append(nn.functional.smooth_l1_loss(found, flat, reduction="sum"))
            losses[name] = torch.stack(parts).sum() / max(1, sum(map(len, inputs[name])))
        return maps, losses


def trained(**cfg: Any) -> tuple[TaskTrainer, Any]:
    torch.manual_seed(0)
    settings = {"num_epochs": 1, "progress": False, "gpu_id": [0], **cfg}
    recorder = MultiLossesRecorder({"loss": ["mask", "boxes", "corners"]})
    trainer = TaskTrainer(settings, [recorder])
    return trainer, trainer.run()


def test_boxes_masks_and_key_points_reach_the_step_as_they_are_and_are_learnt() -> None:
    _, first = trained()
    trainer, logs = trained(num_epochs=20)
    assert list(logs["test"]["loss"]) == ["mask", "boxes", "corners", "total_loss"]
    for name, figure in logs["test"]["loss"].items():
        assert figure < 0.8 * first["test"]["loss"][name]
    batch = trainer.batch
    assert batch["image"].shape == (2, 3, SIZE, SIZE)
    assert batch["image"].dtype == torch.float32
    assert batch["id"] == ["image 6", "image 7"]
    assert [len(boxes) for boxes in batch["boxes"]] == [1, 2]
    assert all(isinstance(one, tv_tensors.BoundingBoxes) for one in batch["boxes"])
    with torch.no_grad():
        maps = trainer.model(batch["image"])
    overlaps = []
    for index, boxes in enumerate(batch["boxes"]):
        centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).long()
        found = maps[index, 1:5, centers[:, 1], centers[:, 0]].T * SIZE + centers.repeat(1, 2)
        overlaps += box_iou(found, boxes.float()).diag().tolist()
    assert sum(overlaps) / len(overlaps) > 0.5
    predicted, truth = maps[:, 0] > 0, torch.stack([one.any(0) for one in batch["masks"]])
    assert (predicted & truth).sum() / (predicted | truth).sum() > 0.5


@pytest.mark.parametrize(
    "cfg",
    [
        {"accumulate_steps": 2},
        {"amp": "bf16"},
        {"channels_last": True},
        {"ema_decay": 0.9},
        {"steps_per_epoch": 2, "clip_grad_norm": 1.0},
    ],
)
def test_what_the_engine_offers_works_on_dict_batches(cfg: dict[str, Any]) -> None:
    trainer, logs = trained(**cfg)
    assert 0 < logs["test"]["loss"]["total_loss"] < 10
    layout = torch.channels_last if cfg.get("channels_last") else torch.contiguous_format
    assert trainer.batch["image"].is_contiguous(memory_format=layout)


def test_outputs_are_predicted_in_the_order_of_the_samples() -> None:
    class Predicting(TaskTrainer):
        def predict_step(self, inputs: Any) -> Any:
            return inputs["id"], super().predict_step((inputs["image"],))

    trainer = Predicting({"num_epochs": 1, "progress": False}, [])
    found = list(trainer.predict(trainer.test_loader))
    assert [name for names, _ in found for name in names] == [f"image {n}" for n in range(8)]
    assert found[0][1].shape == (6, 9, SIZE, SIZE)


def test_a_network_of_maps_is_summed_up() -> None:
    assert model_summary(Finder(), SIZE).parameters == 3 * 16 * 25 + 16 + 16 * 9 * 81 + 9
