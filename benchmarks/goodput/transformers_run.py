"""The work with the Trainer of transformers: ``train(resume_from_checkpoint=True)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.utils import logging

from benchmarks.goodput import work
from benchmarks.goodput.work import Journal


class Named(Dataset[dict[str, Any]]):
    """The images, under the names of the model's arguments."""

    def __init__(self) -> None:
        self.images = work.Images()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.images[index]
        return {"images": image, "labels": label}


class Model(nn.Module):
    """The net with its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = work.Net()
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss."""
        return {"loss": self.loss(self.net(images), labels)}


class Noting(TrainerCallback):
    """Writes the journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.journal.begin(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.journal.end()


class TimedTrainer(Trainer):
    """Lets the journal time the saves."""

    journal: Journal

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with self.journal.saving():
            super()._save_checkpoint(*args, **kwargs)


def main() -> None:
    """Train, from where the run is."""
    job = work.job()
    logging.set_verbosity_error()
    set_seed(work.SEED)
    model = Model()
    arguments = TrainingArguments(
        output_dir=str(job.folder),
        per_device_train_batch_size=work.BATCH,
        num_train_epochs=job.epochs,
        save_strategy="steps",
        save_steps=work.SAVE_EVERY,
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        seed=work.SEED,
        dataloader_pin_memory=False,
    )
    trainer = TimedTrainer(
        model, arguments, train_dataset=Named(), optimizers=(work.optimizer_of(model), None)
    )
    trainer.journal = Journal(job.journal)
    trainer.add_callback(Noting(trainer.journal))
    is_there = any(job.folder.glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=True if is_there else None)
    work.write_hash(job.folder, model.net.state_dict())


if __name__ == "__main__":
    main()
