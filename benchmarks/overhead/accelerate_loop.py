"""The work with Accelerate: ``prepare`` and ``backward`` in a loop that is the user's.

So figures, bar and TensorBoard are those of the raw loop; the schedule is prepared, too.
"""

from __future__ import annotations

from accelerate import Accelerator
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.overhead.work import Work, only


def train(work: Work) -> nn.Module:
    """Train, and return the model."""
    accelerator = Accelerator(cpu=True)
    loader = DataLoader(work.data, 1, collate_fn=only)
    model, optimizer, loader = accelerator.prepare(work.model, work.optimizer(), loader)
    if not work.has_figures:
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            accelerator.backward(work.criterion(model(images), labels))
            optimizer.step()
        return work.model

    from benchmarks.overhead.figures import Figures

    scheduler = accelerator.prepare(CosineAnnealingLR(optimizer, work.steps))
    figures = Figures(work)
    model.train()
    for step, (images, labels) in enumerate(tqdm(loader, leave=False)):
        lr = scheduler.get_last_lr()[0]
        optimizer.zero_grad()
        outputs = model(images)
        loss = work.criterion(outputs, labels)
        accelerator.backward(loss)
        optimizer.step()
        scheduler.step()
        figures.add(step, loss, outputs, labels, lr)
    figures.writer.close()
    return work.model
