"""The loop that an expert writes by hand, without tricks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from benchmarks.overhead.work import EMA_DECAY, LOG_EVERY, SAVE_EVERY, Work


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    return _full(work) if work.has_figures else _bare(work)


def _bare(work: Work) -> nn.Module:
    model, criterion, optimizer = work.model, work.criterion, work.optimizer()
    model.train()
    for images, labels in work.loader():
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
    return model


def _full(work: Work) -> nn.Module:
    model, criterion, optimizer = work.model, work.criterion, work.optimizer()
    scheduler = CosineAnnealingLR(optimizer, work.steps)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    writer: Any = SummaryWriter(str(work.folder))
    loss_sum = torch.zeros((), dtype=torch.float64)
    hits = torch.zeros((), dtype=torch.int64)
    seen = 0
    model.train()
    for step, (images, labels) in enumerate(tqdm(work.loader(), leave=False)):
        lr = optimizer.param_groups[0]["lr"]
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            loss_sum += loss.detach() * len(labels)
            hits += (outputs.argmax(1) == labels).sum()
        seen += len(labels)
        if work.is_safe:
            average.update_parameters(model)
            if (step + 1) % SAVE_EVERY == 0:
                _save(work, step, model, optimizer, average)
        if (step + 1) % LOG_EVERY == 0:
            writer.add_scalar("loss", loss_sum.item() / seen, step)
            writer.add_scalar("accuracy", 100 * hits.item() / seen, step)
            writer.add_scalar("lr", lr, step)
    writer.close()
    return model


def _save(work: Work, step: int, model: nn.Module, optimizer: Any, average: nn.Module) -> None:
    states = {"model": model, "optimizer": optimizer, "average": average}
    tree = {name: copy.copy(one.state_dict()) for name, one in states.items()}
    torch.save({"step": step, **tree}, work.folder / "checkpoint.pt")
