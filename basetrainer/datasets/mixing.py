"""MixUp and CutMix, which mix the samples of a batch, as functions that collate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from basetrainer.datasets.transforms import MIXES, Names, Step, read_names
from basetrainer.errors import ConfigError, UsageError

Collate = Callable[[list[Any]], Any]


class MixCollate:
    """Collate a batch, then mix its images and labels.

    Batches are ``(images, labels, ...)`` or dicts with "image" and "label". Labels become float32,
    shape ``(N, C)``: each sample's share of every class, also in batches that are not mixed. If
    MixUp is among the mixes, uint8 images become float32 on the scale 0 to 1, which Normalize
    takes; CutMix alone keeps uint8. All draws come from torch's default generator.

    Args:
        mixes: Names with arguments: ``alpha`` as in torchvision, and ``p``, the probability that a
            batch is mixed, 1 by default. Of several, each batch draws one, all equally likely.
        num_classes: Number of classes C.
        collate: What makes the batch; None: torch's.

    Raises:
        ConfigError: If an argument is not known or out of range.
    """

    def __init__(
        self, mixes: Sequence[Step], num_classes: int, *, collate: Collate | None = None
    ) -> None:
        from torchvision.transforms import v2

        self.collate: Collate = default_collate if collate is None else collate
        self.num_classes = num_classes
        self.mixes: list[tuple[Callable[..., Any], float]] = []
        self.as_float = any(name == "mixup" for name, _ in mixes)
        for name, arguments in mixes:
            arguments = dict(arguments)
            p = arguments.pop("p", 1.0)
            if not 0 <= p <= 1:
                raise ConfigError(f"{name} has p={p!r}: a probability lies between 0 and 1.")
            try:
                mix = getattr(v2, MIXES[name])(num_classes=num_classes, **arguments)
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"{name} takes alpha and p, not {arguments!r}: {error}"
                ) from error
            self.mixes.append((mix, p))

    def __call__(self, samples: list[Any]) -> Any:
        """Return the mixed batch.

        Raises:
            UsageError: If the batch holds no images and labels where they are looked for.
        """
        batch = self.collate(samples)
        keys: tuple[Any, Any] = ("image", "label") if isinstance(batch, dict) else (0, 1)
        try:
            images, labels = batch[keys[0]], batch[keys[1]]
        except (KeyError, IndexError, TypeError):
            raise UsageError(
                f"MixUp and CutMix need batches (images, labels, ...) or dicts with 'image' and "
                f"'label'; this one is a {type(batch).__name__}."
            ) from None
        mixed: dict[Any, Tensor] = dict(zip(keys, self._mixed(images, labels), strict=True))
        if isinstance(batch, dict):
            return {**batch, **mixed}
        return type(batch)(mixed.get(place, value) for place, value in enumerate(batch))

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.as_float and images.dtype == torch.uint8:
            images = images.float().div_(255)
        # Both are drawn in any case, so that the draws of a batch do not depend on one another.
        which = int(torch.randint(len(self.mixes), ()))
        chance = float(torch.rand(()))
        mix, p = self.mixes[which]
        if chance >= p:
            if labels.dim() == 1:
                labels = torch.nn.functional.one_hot(labels, self.num_classes)
            return images, labels.float()
        mixed: tuple[Tensor, Tensor] = mix(images, labels)
        return mixed


def get_collate(
    names: Names, num_classes: int, *, collate: Collate | None = None
) -> MixCollate | None:
    """Return the collate function that the mixes among ``names`` ask for.

    Args:
        names: As for ``get_transforms``; all but "mixup" and "cutmix" is left to it. Arguments:
            ``alpha`` and ``p``, see :class:`MixCollate`.
        num_classes: Number of classes.
        collate: What makes the batch before it is mixed; None: torch's.

    Returns:
        A function that pickles, or None if nothing is to be mixed.
    """
    mixes = [step for step in read_names(names) if step[0] in MIXES]
    return MixCollate(mixes, num_classes, collate=collate) if mixes else None
