"""Prediction: what an engine does with its network beside training: test it, and let it predict."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from basetrainer._logs import Logs, Metrics
from basetrainer.data.loader import is_dealt, is_shuffled
from basetrainer.data.resume import close_workers
from basetrainer.distributed.strategy import undivided, unwrap
from basetrainer.engine.engine import Engine
from basetrainer.engine.eval_sets import named_test_sets
from basetrainer.engine.resume.load_weights import load_weights
from basetrainer.errors import ConfigError
from basetrainer.utils.batches import input_of
from basetrainer.utils.torch_tools import evaluation_mode


class Prediction(Engine):
    """An engine that can be used without a run.

    Args:
        cfg: See :class:`~basetrainer.engine.engine.Engine`.
    """

    def test(self, checkpoint: Any = None) -> Metrics:
        """Evaluate only, and return the test figures that the callbacks recorded.

        Args:
            checkpoint: A file of weights, or a state dict, to load first; by default the weights
                as they are (the averaged ones where there are such).

        Raises:
            ConfigError: If there is no test loader or no such file.
            CheckpointError: If the weights do not fit the model.
        """
        if self.test_loader is None:
            raise ConfigError("test() needs a test loader, but build_test_loader returned None.")
        logs: Logs = {}
        self._gather_audience()
        self.set_model(self.model)
        if checkpoint is not None:
            load_weights(self.model, checkpoint)
        try:
            self._evaluate(self.test_loader, logs, with_averages=checkpoint is None)
        finally:
            self._end_workers(*named_test_sets(self.test_loader).values())
        return dict(logs.get("test") or {})

    def predict(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield the model's outputs batch by batch, in the order of the samples.

        In a run of several processes a loader that deals its batches yields all of them on every
        process; every process must take all.

        Args:
            loader: Batches as in training; targets, if there are any, are not looked at. Its
                workers end with the last batch, or when the iterator is closed.

        Raises:
            ConfigError: If the loader shuffles.
        """
        if is_shuffled(loader):
            raise ConfigError(
                "predict() yields outputs in the order of the samples, but this loader shuffles. "
                "Build it with shuffle=False."
            )
        batches = self._shown(loader)
        gathers = is_dealt(loader) and self.context.world_size > 1
        try:
            while True:
                whole = undivided(self.model)
                with torch.no_grad(), self.test_weights(), whole, evaluation_mode(self.model):
                    found = [
                        self.predict_step(self.to_device(batch))
                        for batch in itertools.islice(batches, 1)
                    ]
                outputs = (
                    [one for rank in self.context.gather(found) for one in rank]
                    if gathers
                    else found
                )
                if not outputs:
                    return
                yield from outputs
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()
            self._end_workers(loader)

    def predict_step(self, inputs: Any) -> Any:
        """Return the model's outputs for one batch.

        The model gets the entry ``image`` of a batch that is a dict (or the first images, or else
        the first entry, in it), the first part of a list or tuple, and any other batch whole.
        Override it for a model that takes more.

        Args:
            inputs: A batch, on the device.
        """
        with self.precision():
            return unwrap(self.model)(input_of(inputs))

    def _shown(self, loader: Iterable[Any]) -> Iterator[Any]:
        with self._within(None):
            return iter(self.batches(loader, "Predict"))

    def _end_workers(self, *loaders: Any) -> None:
        """End the workers that wait for a next pass, unless a run is on that will take one."""
        if not self._is_running:
            for loader in loaders:
                close_workers(loader)
