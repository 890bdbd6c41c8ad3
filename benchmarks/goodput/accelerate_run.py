"""The work with Accelerate: ``save_state``, ``load_state`` and ``skip_first_batches``.

The loop is that of its manual's page on checkpointing, with the seedable sampler that it advises.
"""

from __future__ import annotations

import shutil

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.goodput import work


def main() -> None:
    """Train, from where the run is."""
    job = work.job()
    journal = work.Journal(job.journal)
    set_seed(work.SEED)
    accelerator = Accelerator(
        cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True)
    )
    model = work.Net()
    loader = DataLoader(work.Images(), work.BATCH, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, work.optimizer_of(model), loader)
    criterion = nn.CrossEntropyLoss()
    saved = sorted(job.folder.glob("step_*"), key=lambda path: int(path.name[5:]))
    done = 0
    if saved:
        accelerator.load_state(str(saved[-1]))
        done = int(saved[-1].name[5:])
    step = done
    for epoch in range(done // work.STEPS, job.epochs):
        loader.set_epoch(epoch)
        batches = loader
        if done and epoch == done // work.STEPS:
            batches = accelerator.skip_first_batches(loader, done % work.STEPS)
        model.train()
        for images, labels in batches:
            journal.begin(step)
            loss: torch.Tensor = criterion(model(images), labels)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            journal.end()
            if step % work.SAVE_EVERY == 0:
                with journal.saving():
                    accelerator.save_state(str(job.folder / f"step_{step}"))
                    shutil.rmtree(
                        job.folder / f"step_{step - 2 * work.SAVE_EVERY}", ignore_errors=True
                    )
    work.write_hash(job.folder, accelerator.unwrap_model(model).state_dict())


if __name__ == "__main__":
    main()
