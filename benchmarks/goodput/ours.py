"""The work with this library."""

from __future__ import annotations

from typing import Any

from torch import nn

import basetrainer as bt
from benchmarks.goodput import work
from benchmarks.goodput.work import Journal


class Noting(bt.Callback):
    """Writes the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.engine is not None:
            self.journal.begin(self.engine.position.update)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.journal.end()


class Trainer(bt.EngineTrainer):
    """Builds the work."""

    def __init__(self, cfg: Any, journal: Journal) -> None:
        super().__init__(cfg)
        self.journal = journal
        self.build(cfg)

    def build_train_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_dataloader(work.Images(), work.BATCH, 0)

    def build_test_loader(self, cfg: Any, **kwargs: Any) -> Any:
        return None

    def build_model(self, cfg: Any, **kwargs: Any) -> Any:
        return self.build_model_parallel(work.Net())

    def build_criterion(self, cfg: Any, **kwargs: Any) -> Any:
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg: Any, **kwargs: Any) -> Any:
        return work.optimizer_of(self.model)

    def build_callbacks(self, cfg: Any, **kwargs: Any) -> Any:
        return [bt.LossesRecorder(), Noting(self.journal)]

    def save_timed(self) -> None:
        """Let the journal time the saves."""
        checkpointer: Any = self.checkpointer
        save = checkpointer.save

        def timed(**options: Any) -> None:
            with self.journal.saving():
                save(**options)

        checkpointer.save = timed

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self.save_timed()


def main() -> None:
    """Train, from where the run is."""
    job = work.job()
    cfg = {
        "work_dir": str(job.folder / "run"),
        "resume": "auto",
        "num_epochs": job.epochs,
        "save_every_updates": work.SAVE_EVERY,
        "save_every_epochs": 0,
        "seed": work.SEED,
        "progress": False,
    }
    trainer = Trainer(cfg, Journal(job.journal))
    trainer.run()
    work.write_hash(job.folder, trainer.model.state_dict())


if __name__ == "__main__":
    main()
