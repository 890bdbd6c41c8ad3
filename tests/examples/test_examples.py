"""The examples run, learn what they are about, and stay short."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import examples
from basetrainer.testing import checks
from examples import gan, multi_loss, own_callback, own_tracker
from examples.common import DigitTrainer

FOLDER = Path(examples.__file__).parent

pytestmark = pytest.mark.usefixtures("restored_logger")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_an_example_stays_short(path):
    assert len(path.read_text().splitlines()) < 120


def test_the_gan_with_two_optimizers_comes_nearer_to_the_ring():
    near = gan.main(["--num_epochs", "20"])["test"]["loss"]["distance"]
    far = gan.main(["--num_epochs", "1"])["test"]["loss"]["distance"]
    assert near < 0.6 * far


def test_several_losses_of_dict_batches_are_each_recorded_and_learnt():
    logs = multi_loss.main(["--num_epochs", "3"])
    assert logs["test"]["Acc"] > 90
    losses = logs["test"]["loss"]
    assert losses["total_loss"] == pytest.approx(losses["size"] + losses["place"])
    assert Path("blobs/log/results.csv").exists()


def test_the_callback_of_its_own_gives_a_figure_for_each_epoch(caplog):
    logs = own_callback.main(2)
    assert logs["train"]["grad_norm"] > 0
    assert logs["test"]["Acc"] > 70


def test_the_tracker_keeps_each_figure_of_each_epoch_of_each_run_once():
    for name in ("first", "second", "second"):
        own_tracker.main(2, name)
    with sqlite3.connect("runs.db") as database:
        rows = database.execute(
            "select run, epoch from figures where name = 'test/Acc' order by run, epoch"
        ).fetchall()
    database.close()
    assert rows == [("first", 0), ("first", 1), ("second", 0), ("second", 1)]


def test_a_sweep_finds_settings_and_trainers_leak_nothing_into_each_other():
    pytest.importorskip("optuna", reason="the example's own package: pip install optuna")
    from examples import optuna_sweep

    alone = optuna_sweep.train({"num_epochs": 1, "lr": 0.05})
    study = optuna_sweep.main(["--num_trials", "3", "--num_epochs", "1"])
    assert len(study.trials) == 3
    assert optuna_sweep.train({"num_epochs": 1, "lr": 0.05}) == alone


def digits(**settings):
    return DigitTrainer({"batch_size": 32, **settings}, (own_callback.GradientNorm(),))


def ring(**settings):
    return gan.GanTrainer({"batch_size": 64, "num_workers": 0, "lr": 1e-3, **settings})


@pytest.mark.distributed
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_the_conformance_kit_passes_on_the_digits_with_the_own_callback(check):
    is_two = check is checks.two_processes_equal_one
    check(digits, **({"start_method": "fork"} if is_two else {}))


@pytest.mark.parametrize(
    "check",
    [
        checks.resumes_exactly,
        checks.independent_of_workers,
        checks.no_host_reads,
        checks.deterministic,
        checks.config_round_trips,
    ],
    ids=lambda check: check.__name__,
)
def test_the_conformance_kit_passes_on_the_gan_where_it_does_not_hang_on_noise(check):
    check(ring)
