"""Two processes: killed, stopped by a signal, started again, they end with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from basetrainer.callbacks.callbacks import Callback
from basetrainer.callbacks.losses_recorder import LossesRecorder
from basetrainer.checkpoint.run_folder import checkpoint_paths
from basetrainer.engine import comm
from basetrainer.engine.launch import launch
from basetrainer.metric.accuracy_recorder import AccuracyRecorder
from tests.contract.test_old_style_user import CONFIG, PROGRAM
from tests.engine.resume.test_origin import CFG, Trainer, everything
from tests.fixtures.programs import TIMEOUT, run_program
from tests.tiny import StopAt, TinyTrainer
from tests.trees import exact

pytestmark = pytest.mark.distributed


class SignalOnce(Callback):
    """Sends one rank a signal at the n-th call of a hook, unless a file says it was done."""

    def __init__(self, hook: str, after: int, rank: int, number: int) -> None:
        super().__init__()
        self.left = after

        def heard(*args: Any) -> None:
            self.left -= 1
            if self.left == 0 and comm.get_rank() == rank and not Path("done").exists():
                Path("done").touch()
                os.kill(os.getpid(), number)

        setattr(self, hook, heard)


def train(work_dir: str, hook: str = "", after: int = 0, rank: int = 0, number: int = 0) -> str:
    torch.set_num_threads(1)
    cfg = {**CFG, "work_dir": work_dir, "save_every_updates": 2, "ema_decay": 0.5}
    trainer = Trainer(cfg, *([SignalOnce(hook, after, rank, number)] if hook else []))
    logs = trainer.run()
    torch.distributed.barrier()
    tree = everything(trainer, logs)
    for of_rank in tree.get("ranks", ()):
        of_rank["callbacks"].pop("SignalOnce", None)
    return exact(tree)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    before = Path.cwd()
    os.chdir(folder)
    try:
        return str(launch(train, 2, args=("whole",), start_method="fork"))
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("hook", "after", "rank"),
    [("on_batch_end", 5, 1), ("on_test_summary", 2, 1), ("on_epoch_end", 1, 0)],
)
def test_a_signal_to_one_rank_ends_all_with_one_checkpoint_and_75(hook, after, rank, whole, capfd):
    arguments = ("run", hook, after, rank, int(signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        launch(train, 2, args=arguments, start_method="fork")
    assert caught.value.code == 75
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("preempted: ")
    assert "goes on from update-0" in last
    assert checkpoint_paths(Path("run/checkpoints"))
    told = json.loads(Path("run/exit.json").read_text())
    assert (told["code"], told["reason"], told["rank"]) == (75, "preempted", 0)
    assert told["message"] in last
    assert launch(train, 2, args=arguments, start_method="fork") == whole
    told = json.loads(Path("run/exit.json").read_text())
    assert (told["code"], told["reason"], told["epoch"]) == (0, "done", 3)


def test_a_killed_rank_is_started_again_and_the_run_goes_on(whole):
    arguments = ("run", "on_batch_begin", 5, 1, int(signal.SIGKILL))
    assert launch(train, 2, args=arguments, start_method="fork", max_restarts=1) == whole


def test_a_wrong_setting_is_not_tried_again(capfd):
    with pytest.raises(SystemExit) as caught:
        launch(refuse, 2, start_method="fork", max_restarts=3)
    assert caught.value.code == 2
    assert Path("tries").read_text() == "x"
    assert capfd.readouterr().err.strip().endswith("error: resume: 'nowhere' is no run")


def refuse() -> None:
    from basetrainer.errors import ConfigError

    if comm.get_rank() == 0:
        with Path("tries").open("a") as file:
            file.write("x")
    comm.synchronize()
    raise ConfigError("resume: 'nowhere' is no run")


def test_two_runs_in_one_folder_the_second_is_refused_on_all_ranks(capfd):
    Path("run").mkdir()
    holder = {"host": os.uname().nodename, "pid": os.getpid(), "since": "noon"}
    from basetrainer.utils.posix import start_of

    Path("run/run.lock").write_text(json.dumps({**holder, "process_start": start_of(os.getpid())}))
    with pytest.raises(SystemExit) as caught:
        launch(train, 2, args=("run",), start_method="fork")
    assert caught.value.code == 2
    message = capfd.readouterr().err.strip().splitlines()[-1]
    assert f"Another run is at work in run: process {os.getpid()}" in message


def test_a_signal_to_the_launcher_reaches_the_ranks(tmp_path, whole):
    code = (
        "import torch, sys\nfrom basetrainer.engine.launch import launch\n"
        "from tests.distributed.test_resume import slow\n"
        "if __name__ == '__main__': launch(slow, 2, args=('run',))"
    )
    (tmp_path / "program.py").write_text(code)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(
        [sys.executable, "program.py"], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "training" in line:
                process.terminate()
                break
        *_, last = process.stderr.read().strip().splitlines()
        assert process.wait(TIMEOUT) == 75
    assert last.startswith("preempted: SIGTERM: the run goes on from update-0")
    assert launch(train, 2, args=("run",), start_method="fork") == whole


class Slow(Callback):
    """Says that the training is on, and takes its time."""

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        import time

        time.sleep(0.1)
        if batch == 1 and comm.get_rank() == 0:
            sys.stderr.write("training\n")
            sys.stderr.flush()


def slow(work_dir: str) -> None:
    torch.set_num_threads(1)
    cfg = {**CFG, "work_dir": work_dir, "save_every_updates": 2, "ema_decay": 0.5}
    Trainer(cfg, Slow()).run()


def test_an_old_program_that_is_killed_and_restarted_goes_on_in_the_same_folder(tmp_path):
    text = PROGRAM.read_text()
    kill = (
        "        return [acc_record, loss_record, lr_scheduler, history, checkpointer]",
        "        from basetrainer.callbacks.callbacks import Callback\n"
        "        class Killer(Callback):\n"
        "            def on_epoch_begin(self, epoch, logs={}):\n"
        "                if epoch == 2 and not os.path.exists('killed'):\n"
        "                    open('killed', 'w').close(); os.kill(os.getpid(), 9)\n"
        "        return [acc_record, loss_record, lr_scheduler, Killer(), history, checkpointer]",
    )
    restart = ("        distributed=cfg.distributed,\n        args", "        max_restarts=1,\n")
    assert kill[0] in text
    assert restart[0] in text
    text = text.replace(*kill).replace(restart[0], restart[1] + restart[0])
    text = text.replace("num_epochs: 2\n", "")
    Path("program.py").write_text(text)
    Path("config.yaml").write_text(
        CONFIG.format(ids="0", finetune="null", lr="0.1").replace("num_epochs: 2", "num_epochs: 3")
        + "resume: auto\n"
    )
    done = run_program("program.py", "--config_file", "config.yaml")
    assert done.returncode == 0, done.stderr
    assert Path("killed").exists()
    (folder,) = Path("work_space").iterdir()
    assert "resume: from " in done.stderr
    rows = (folder / "log" / "results.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["epoch", "0", "1", "2"]


def train_apart(folder: str, stops: bool) -> dict[str, float]:
    """Train one epoch of three updates; stopped, only two of them."""
    torch.manual_seed(5)
    world = comm.get_world_size()
    cfg = {"num_epochs": 1, "progress": False, "gpu_id": [0, 1], "work_dir": folder}
    cfg |= {"resume": "auto", "save_every_updates": 1}
    callbacks = [LossesRecorder(), AccuracyRecorder(), *([StopAt(2)] if stops else [])]
    trainer = TinyTrainer(cfg, callbacks, batch_size=4 // world, tests=False)
    return dict(trainer.run().get("train", {}))


@pytest.mark.parametrize("worlds", [(2, 1), (1, 2)])
def test_figures_of_an_epoch_cover_all_of_it_with_another_number_of_processes(worlds):
    def run(world: int, folder: str, stops: bool = False) -> dict[str, float]:
        found: dict[str, float] = launch(
            train_apart, world, args=(folder, stops), start_method="fork"
        )
        return found

    whole = run(1, "whole")
    before, after = worlds
    run(before, "moved", stops=True)
    assert run(after, "moved") == pytest.approx(whole, abs=1e-6)
