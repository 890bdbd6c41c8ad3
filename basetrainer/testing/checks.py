"""Eight checks of a trainer of your own, each one line of pytest."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from basetrainer._logs import Logs
from basetrainer.callbacks.callbacks import Callback
from basetrainer.config.settings import as_mapping, easy2dict
from basetrainer.config.yaml_dialect import to_plain
from basetrainer.config.yaml_file import read_yaml, write_yaml
from basetrainer.data.resume import close_workers
from basetrainer.engine.launch import StartMethod, launch
from basetrainer.engine.losses import total_loss
from basetrainer.testing.host_reads import HostReads
from basetrainer.testing.parts import batch_size_of, check_batch_size, check_network
from basetrainer.testing.running import Make, batches_of, build, differences, left, refuse, run


def overfits_one_batch(make: Make, *, steps: int = 100, ratio: float = 0.2) -> None:
    """The loss of one batch, trained on again and again, falls to a part of what it was.

    Args:
        make: Makes the trainer; see :data:`~basetrainer.testing.running.Make`.
        steps: Updates that it has for it, at the optimizer's learning rate, without a schedule.
        ratio: The part of the first loss that it must reach.
    """
    with _folder() as folder:
        trainer = build(make, folder)
        trainer.model.train()
        trainer.inputs = trainer.to_device(next(iter(trainer.train_loader)))
        close_workers(trainer.train_loader)
        found: list[float] = []
        for _ in range(steps + 1):
            _, losses = trainer.train_step(trainer.inputs)
            found.append(float(total_loss(losses).detach()))
            if found[-1] <= ratio * found[0]:
                return
    text = f"{found[0]:.4g} at first, {found[-1]:.4g} after {steps} updates"
    refuse(
        [text],
        "The trainer cannot learn a single batch by heart",
        "Does the loss compare outputs with their own targets? Has the optimizer the parameters of "
        "this model, and a learning rate that is neither too small nor too large?",
    )


def resumes_exactly(make: Make) -> None:
    """A run that was ended within an epoch goes on to the same bits as one that was not.

    Compared are weights, figures, and the states of the trainer and its callbacks.
    """
    settings = {"num_epochs": 3, "resume": "auto"}
    with _folder() as folder:
        whole = run(make, folder, **settings)
        folder.rename(folder.with_name("whole"))
        first = build(make, folder, **settings)
        first.callbacks = [_Stopper(first.num_steps // 2), *first.callbacks]
        first.run()
        second = build(make, folder, **settings)
        found = differences(whole, left(second, second.run()))
    refuse(
        found,
        "A run that goes on ends otherwise than one that was not ended",
        "What a callback or trainer counts must be in its state_dict and load_state_dict; random "
        "numbers must come from torch, numpy or random, not from a generator of your own.",
    )


def independent_of_workers(make: Make, *, num_workers: int = 2) -> None:
    """Training and test batches are the same with and without loader workers."""
    with _folder() as folder, warnings.catch_warnings():
        # However few cores there are: what is looked at is not the speed.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        ours = batches_of(make, folder, 0)
        theirs = batches_of(make, folder, num_workers)
    refuse(
        differences(ours, theirs),
        f"Batches differ between 0 and {num_workers} workers",
        "A sample must be a function of its index and of torch's, numpy's and random's generators: "
        "not of a generator of your own, of how often the dataset was asked, or of the worker.",
    )


def two_processes_equal_one(
    make: Make, *, tolerance: float = 1e-4, start_method: StartMethod = "spawn"
) -> None:
    """Two processes with half the batch each learn and score what one with the whole does.

    Networks with BatchNorm or dropout differ, as they do everywhere: leave those out of the
    network that is checked.

    Args:
        make: Is at the top level of a module, so that new processes find it.
        tolerance: By how much weights and figures may differ.
        start_method: As in :func:`~basetrainer.engine.launch.launch`.
    """
    with _folder() as folder:
        trainer = build(make, folder, num_epochs=1)
        check_network(trainer)
        batch_size = batch_size_of(trainer)
        alone = left(trainer, trainer.run())
        arguments = (make, folder.with_name("two"), batch_size // 2)
        try:
            both = pickle.loads(
                launch(_train_share, 2, args=arguments, start_method=start_method) or b"N."
            )
        except SystemExit as error:  # what went wrong was printed
            raise AssertionError("Two processes cannot train together: see above.") from error
    refuse(
        differences(_learnt(alone), _learnt(both), tolerance),
        "Two processes learn or score otherwise than one with the same global batch",
        "Do build_train_loader and build_test_loader use build_dataloader (phase='test' for the "
        "tests), is a loss a mean over what loss_count says, and does nothing (such as lr) depend "
        "on world_size?",
    )


def accumulation_invariant(make: Make, *, tolerance: float = 1e-4) -> None:
    """Two micro-batches to an update learn what one batch of twice the size does.

    Networks with BatchNorm or dropout differ: leave those out of the network that is checked.
    """
    with _folder() as folder:
        trainer = build(make, folder, num_epochs=1)
        check_network(trainer)
        batch_size = batch_size_of(trainer)
        whole = left(trainer, trainer.run())
        part = build(make, folder, num_epochs=1, batch_size=batch_size // 2, accumulate_steps=2)
        check_batch_size(part, batch_size // 2)
        halves = left(part, part.run())
    refuse(
        differences(_learnt(whole), _learnt(halves), tolerance),
        "Half the batch_size with accumulate_steps=2 learns otherwise than the whole",
        "A loss must be a mean (not a sum), over as many things as loss_count returns; and updates "
        "belong to self.update, not to optimizer.step() in run_step.",
    )


def no_host_reads(make: Make) -> None:
    """Between log points no step waits for a value of a tensor; see :class:`HostReads`.

    The first step of an epoch and its end may read. Blind spots are those of
    :class:`~basetrainer.testing.host_reads.HostReads`.
    """
    reads = HostReads()
    with _folder() as folder:
        trainer = build(make, folder, num_epochs=1, log_freq=0)

        def watched(batches: Iterable[Any], phase: str) -> Iterator[Any]:
            for number, batch in enumerate(batches):
                with reads if number and phase == "train" else nullcontext():
                    yield batch

        trainer.observer = watched
        trainer.run()
    if not reads.ops:
        raise AssertionError("There is no second step to look at: give the trainer more batches.")
    counted = Counter(f"{read.place} ({read.what})" for read in reads.reads)
    refuse(
        [f"{place}, {count} times" for place, count in counted.most_common()],
        "Steps wait for the device",
        "Keep tensors as they are (detach and clone them) and read them in on_epoch_end, or every "
        "log_freq steps.",
    )


def deterministic(make: Make) -> None:
    """Two runs of one seed end with the same bits.

    Both are in this process: what hangs on ``PYTHONHASHSEED`` is not seen.
    """
    with _folder() as folder:
        first, second = (run(make, folder, num_epochs=2) for _ in range(2))
    refuse(
        differences(first, second),
        "Two runs with the same settings end otherwise",
        "Something is drawn from a generator that nobody seeds, or hangs on time, names of files "
        "or the order of a set. On a GPU set deterministic: true.",
    )


def config_round_trips(make: Make) -> None:
    """Settings survive YAML and pickle, and a trainer made from them is the same.

    Also a trainer that changes its settings while it is built is found, where building again from
    the changed ones would change them once more.
    """
    with _folder() as folder:
        trainer = build(make, folder)
        given = to_plain(easy2dict(as_mapping(trainer.cfg)), {})
        write_yaml(as_mapping(trainer.cfg), folder.with_name("settings.yaml"))
        settings = read_yaml(folder.with_name("settings.yaml")).values
        strange: dict[str, str] = {}
        to_plain(easy2dict(as_mapping(trainer.cfg)), strange)
        found = [f"{key} is a {kind}, which YAML does not know" for key, kind in strange.items()]
        found += differences(given, settings)
        try:
            pickle.loads(pickle.dumps(trainer.cfg))
        except Exception as error:
            found.append(f"cfg does not pickle ({error})")
        refuse(found, "Settings are not what they were", "Keep numbers, texts, lists and dicts.")
        again = make(**settings)
        found = differences(given, to_plain(easy2dict(as_mapping(again.cfg)), {}))
        found += differences(trainer.model.state_dict(), again.model.state_dict())
    refuse(
        found,
        "A trainer made from the settings of another one is not the same",
        "Let build_* read cfg, and write only what is the same when it is written twice.",
    )


CHECKS: tuple[Callable[[Make], None], ...] = (
    overfits_one_batch,
    resumes_exactly,
    independent_of_workers,
    two_processes_equal_one,
    accumulation_invariant,
    no_host_reads,
    deterministic,
    config_round_trips,
)
"""All of them, for ``pytest.mark.parametrize``."""


class _Stopper(Callback):
    """Ends the run in its second epoch, as a batch system would."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._batch = batch

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Ask the run to stop, not for good."""
        engine = self.engine
        if engine is not None and engine.epoch == 1 and batch == max(self._batch - 1, 0):
            engine.stop("to see whether it goes on", is_final=False)


@contextmanager
def _folder() -> Iterator[Path]:
    """Give the path of a run that is not there yet, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="basetrainer-check-") as folder:
        yield Path(folder, "run")


def _train_share(make: Make, folder: Path, batch_size: int) -> bytes:
    trainer = build(make, folder, num_epochs=1, batch_size=batch_size, gpu_id=[0, 1])
    check_batch_size(trainer, batch_size)
    return pickle.dumps(left(trainer, trainer.run()))


def _learnt(found: dict[str, Any]) -> dict[str, Any]:
    """Return the weights, and the figures of the tests: what must not hang on how it was shared."""
    return {
        name: value for name, value in found.items() if name.startswith(("weight ", "figure test"))
    }
