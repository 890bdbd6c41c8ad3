"""The work with Lightning: ``ModelCheckpoint``, ``ckpt_path="last"`` and a stateful loader.

The stateful loader of torchdata is what Lightning's manual advises for resuming within an epoch.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.goodput import work
from benchmarks.goodput.work import Journal


class Module(lightning.LightningModule):
    """The net, its loss and its optimizer."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.net = work.Net()
        self.loss = nn.CrossEntropyLoss()
        self.journal = journal

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.journal.begin(self.global_step)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.journal.end()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        loss: Tensor = self.loss(self.net(images), labels)
        return loss

    def configure_optimizers(self) -> Any:
        return work.optimizer_of(self)


class TimedCheckpoint(ModelCheckpoint):
    """Lets the journal time the saves."""

    def _save_checkpoint(self, trainer: Any, filepath: str) -> None:
        with trainer.lightning_module.journal.saving():
            super()._save_checkpoint(trainer, filepath)


def main() -> None:
    """Train, from where the run is."""
    job = work.job()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    lightning.seed_everything(work.SEED, workers=True, verbose=False)
    saver = TimedCheckpoint(
        job.folder, every_n_train_steps=work.SAVE_EVERY, save_top_k=1, save_last="link"
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=job.epochs,
        callbacks=[saver],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module(Journal(job.journal))
    loader = StatefulDataLoader(work.Images(), work.BATCH, shuffle=True)
    is_there = any(job.folder.glob("last*.ckpt"))
    trainer.fit(module, loader, ckpt_path="last" if is_there else None)
    work.write_hash(job.folder, module.net.state_dict())


if __name__ == "__main__":
    main()
