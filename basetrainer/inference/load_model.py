"""load_model: from the folder of a run to its network and preprocessing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basetrainer.checkpoint.sidecar import Sidecar
from basetrainer.datasets.decode import is_image_name, read_pil, read_tensor, warn_of_unread
from basetrainer.datasets.image_dataset import Transform, is_first_generation
from basetrainer.datasets.transforms import TransformChain, get_transforms
from basetrainer.distributed.context import pick_device
from basetrainer.errors import CheckpointError, ConfigError, DataError
from basetrainer.models.finetune import read_state
from basetrainer.models.load_pruned import load_pruned
from basetrainer.models.structure import structure_in
from basetrainer.utils.batches import logits_of

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Prediction:
    """What a network takes one image for."""

    path: str
    """The image."""

    classes: list[str]
    """The likeliest classes, the first one first."""

    probabilities: list[float]
    """Theirs, by softmax."""

    index: int
    """Of the first one."""


@dataclass(frozen=True)
class LoadedModel:
    """The best network of a run, ready to use."""

    model: nn.Module
    """In evaluation mode, on ``device``."""

    transform: Transform | None
    """From an image, uint8 of shape ``(3, H, W)`` or of Pillow, to what the network takes; None if
    it is not known how the run prepared its images."""

    class_names: list[str]
    """In the order of the outputs."""

    sidecar: Sidecar
    """What the run says of these weights."""

    device: torch.device
    """Where the network is."""

    @torch.inference_mode()
    def logits(self, images: Iterable[Tensor]) -> Tensor:
        """Return the outputs for transformed images, shape ``(N, num_classes)``, on the CPU."""
        outputs: Tensor = logits_of(self.model(torch.stack(list(images)).to(self.device)))
        return outputs.float().cpu()

    def predict(
        self,
        images: Iterable[StrPath],
        *,
        topk: int = 1,
        batch_size: int = 32,
        on_broken: Callable[[DataError], object] | None = None,
    ) -> Iterator[Prediction]:
        """Yield what each image is taken for.

        Args:
            images: Files; of a folder all images in it.
            topk: How many classes, at most those that there are.
            batch_size: How many images go through the network at once.
            on_broken: Called with the error of each image that cannot be read, which is then left
                out; by default the error is raised.

        Raises:
            ConfigError: If there is no such file, or no image in a folder.
            DataError: If an image cannot be read, and ``on_broken`` is not given.
        """
        paths, transform = image_files(images), self.preprocessing
        read = read_pil if is_first_generation(transform) else read_tensor
        for start in range(0, len(paths), batch_size):
            batch, inputs = [], []
            for path in paths[start : start + batch_size]:
                try:
                    image = read(path)
                except DataError as error:
                    if on_broken is None:
                        raise
                    on_broken(error)
                    continue
                batch.append(path)
                inputs.append(transform(image))
            if not batch:
                continue
            shares = self.logits(inputs).softmax(1)
            values, indices = shares.topk(min(topk, shares.shape[1]), dim=1)
            for path, row, found in zip(batch, values.tolist(), indices.tolist(), strict=True):
                yield Prediction(path, [self.class_name(one) for one in found], row, found[0])

    @property
    def preprocessing(self) -> Transform:
        """The transform.

        Raises:
            ConfigError: If there is none.
        """
        if self.transform is None:
            raise ConfigError(
                "How the run prepared its test images is not known: they have a transform of their "
                "own, or the run does not say their size (input_size). In a program give it, "
                "load_model(run, transform=...), or prepare the images and call "
                "loaded.logits(images). The commands need transforms of get_transforms, or "
                "Resize, CenterCrop, ToTensor and Normalize of torchvision."
            )
        return self.transform

    def class_name(self, index: int) -> str:
        """Return the name of a class; its index if it has none."""
        return self.class_names[index] if index < len(self.class_names) else str(index)


def load_model(
    run: StrPath,
    model: nn.Module | None = None,
    *,
    device: torch.device | str | None = None,
    transform: Transform | None = None,
) -> LoadedModel:
    """Load the best network of a run, and the preprocessing that it was tested with.

    Args:
        run: The folder of the run, or that of its weights.
        model: The network, freshly built, for weights of one that ``get_models`` did not make.
        device: Where it goes; by default the first accelerator, or the CPU.
        transform: How images are prepared, where the run does not say so: called with a uint8
            tensor, or with a Pillow image if it is of ``torchvision.transforms``, not ``.v2``.

    Raises:
        ConfigError: If the run has no best model, or does not say how to make its network.
        CheckpointError: If the weights cannot be read or do not fit.
    """
    sidecar, weights = Sidecar.read(Path(run))
    state = read_state(weights)
    if structure_in(state):
        model = load_pruned(weights, model)
    else:
        model = _built(sidecar, weights) if model is None else model
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(
                f"{weights} does not fit {type(model).__name__}: {error}"
            ) from error
    where = pick_device(None) if device is None else torch.device(device)
    given = prepare(sidecar) if transform is None else transform
    return LoadedModel(model.eval().to(where), given, sidecar.class_names, sidecar, where)


def image_files(images: Iterable[StrPath]) -> list[str]:
    """Return the image files among paths, those in folders and below too, in their order.

    Raises:
        ConfigError: If a path does not exist, or a folder has no image.
    """
    found: list[str] = []
    for one in map(Path, images):
        if one.is_dir():
            files = [path for path in one.rglob("*") if path.is_file()]
            warn_of_unread((path.name for path in files), str(one))
            inside = sorted(str(path) for path in files if is_image_name(path.name))
            if not inside:
                raise ConfigError(f"{one} has no images in it. Name files, or another folder.")
            found += inside
        elif one.is_file():
            found.append(str(one))
        else:
            raise ConfigError(f"There is no image {one}. Check the path.")
    return found


def prepare(sidecar: Sidecar) -> TransformChain | None:
    """Return the transform that a sidecar tells of; None if it tells of none."""
    if sidecar.input_size is None and sidecar.transform is None:
        return None
    return get_transforms(
        sidecar.transform,
        sidecar.input_size,
        train=False,
        mean=sidecar.mean,
        std=sidecar.std,
        normalize=sidecar.mean is not None,
    )


def _built(sidecar: Sidecar, weights: Path) -> nn.Module:
    if not sidecar.net:
        raise ConfigError(
            f"{weights} is of a network that get_models() did not make. Build it, and call "
            f"load_model(run, model)."
        )
    from basetrainer.models.build_models import get_models

    arguments: dict[str, Any] = {**sidecar.net, "pretrained": False, "is_train": False}
    return get_models(**arguments)
