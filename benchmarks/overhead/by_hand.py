"""The best loop that we could write by hand: all that can wait is put off to the log points.

It has none of what a library gives: no hooks, no check for NaN, no way to stop, no place to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from benchmarks.overhead.raw import _save
from benchmarks.overhead.work import EMA_DECAY, LOG_EVERY, SAVE_EVERY, Batch, Work


@dataclass(frozen=True)
class Shortcuts:
    """What a loop may go around.

    Args:
        step_of: Returns what changes the weights, given an optimizer.
        batches_of: Returns the batches.
    """

    step_of: Callable[[Optimizer], Callable[[], Any]] = lambda optimizer: optimizer.step
    batches_of: Callable[[Work], Iterable[Batch]] = Work.loader


def train(work: Work, shortcuts: Shortcuts = Shortcuts()) -> nn.Module:
    """Train, and return the model."""
    return (_full if work.has_figures else _bare)(work, shortcuts)


def _bare(work: Work, shortcuts: Shortcuts) -> nn.Module:
    model, criterion, optimizer = work.model, work.criterion, work.optimizer()
    step_optimizer = shortcuts.step_of(optimizer)
    parameters = list(model.parameters())
    model.train()
    for images, labels in shortcuts.batches_of(work):
        loss = criterion(model(images), labels)
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        step_optimizer()
    return model


def _full(work: Work, shortcuts: Shortcuts) -> nn.Module:
    model, criterion, optimizer = work.model, work.criterion, work.optimizer()
    step_optimizer = shortcuts.step_of(optimizer)
    parameters = list(model.parameters())
    group = optimizer.param_groups[0]
    average = _copy(model)
    mine, averaged = list(model.state_dict().values()), list(average.state_dict().values())
    writer: Any = SummaryWriter(str(work.folder))
    losses: list[Tensor] = []
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    loss_sum, hits, seen = 0.0, 0, 0
    model.train()
    bar = tqdm(total=work.steps, leave=False, miniters=LOG_EVERY)
    for step, (images, labels) in enumerate(shortcuts.batches_of(work)):
        group["lr"] = lr = work.lr_at(step)
        output = model(images)
        loss = criterion(output, labels)
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        step_optimizer()
        losses.append(loss.detach())
        outputs.append(output.detach())
        targets.append(labels)
        if work.is_safe:
            with torch.no_grad():
                torch._foreach_lerp_(averaged, mine, 1.0 - EMA_DECAY)
            if (step + 1) % SAVE_EVERY == 0:
                _save(work, step, model, optimizer, average)
        if (step + 1) % LOG_EVERY == 0:
            all_targets = torch.cat(targets)
            loss_sum += sum(torch.stack(losses).tolist()) * len(labels)
            hits += int((torch.cat(outputs).argmax(1) == all_targets).sum())
            seen += len(all_targets)
            losses, outputs, targets = [], [], []
            writer.add_scalar("loss", loss_sum / seen, step)
            writer.add_scalar("accuracy", 100 * hits / seen, step)
            writer.add_scalar("lr", lr, step)
            bar.update(LOG_EVERY)
    bar.close()
    writer.close()
    return model


def _copy(model: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(model)
