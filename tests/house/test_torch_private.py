"""Private names of torch stand in one file, and a run comes to the same end without any of them."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import basetrainer
from basetrainer import _torch_private as private
from basetrainer.checkpoint.tree import snapshot
from basetrainer.data import workers
from basetrainer.data.epoch_loader import EpochLoader
from basetrainer.data.resume import set_position
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.shared_flag import SharedFlag
from basetrainer.distributed.strategy import evaluating
from basetrainer.engine.precision import bf16_unit
from basetrainer.engine.processes import process_group as group
from basetrainer.engine.processes import rank_reports as notes
from basetrainer.engine.stepper import Stepper
from basetrainer.errors import BaseTrainerError
from basetrainer.testing.host_reads import HostReads
from tests.data.pictures import quiet_workers
from tests.tiny import TinyTrainer, weights

pytestmark = quiet_workers

ROOT = Path(basetrainer.__file__).parent
ATTRIBUTES = {name.removeprefix(".") for name in private.NAMES if name.startswith(".")}
OWNERS = ("torch", "dist", "iterator", "batches", "optimizer", "profiler", "loader")
"""What objects of torch's are called in this package."""


def _name(node: ast.expr) -> str:
    """The dotted name that an expression is; "" if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def _is_private(name: str) -> bool:
    return any(one.startswith("_") and not one.startswith("__") for one in name.split("."))


def private_names(text: str) -> list[str]:
    """The private names of torch that a module uses."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            found += [f"{node.module}.{one.name}" for one in node.names]
        elif isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.startswith("torch")]
        elif isinstance(node, ast.Attribute):
            name = _name(node)
            if name.partition(".")[0] in OWNERS:
                found.append(name)
            if node.attr in ATTRIBUTES:
                found.append(f"torch._.{node.attr}")
        elif isinstance(node, ast.Call) and _name(node.func).endswith("attr"):
            texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
            names = [one for one in texts if isinstance(one, str)]
            is_torchs = node.args and _name(node.args[0]).partition(".")[0] in OWNERS
            found += [f"getattr.{one}" for one in names if is_torchs or one in ATTRIBUTES]
            found += [f"torch._.{one}" for one in names if one in ATTRIBUTES]
    return [name for name in found if _is_private(name)]


def test_no_other_module_names_them():
    for path in ROOT.rglob("*.py"):
        if path.name != "_torch_private.py":
            assert not private_names(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    "line",
    [
        "import torch._utils",
        "from torch.utils._pytree import tree_map",
        "from torch.utils.data import _utils",
        "torch._foreach_add_(a, b)",
        "torch.cpu._is_amx_tile_supported()",
        "getattr(torch, '_foreach_add_')",
        "hasattr(iterator, '_anything')",
        "iterator._tasks_outstanding",
        "whatever._shutdown_workers()",
        "getattr(state, '_metadata', None)",
    ],
)
def test_a_private_name_is_found(line):
    assert private_names(line)


def test_this_torch_has_them_all():
    """Not so of every torch; of one that lacks some, this tells which fallbacks are at work."""
    assert [name for name, found in private._FOUND.items() if found is None] == []


# -- without each of them ----------------------------------------------------------------------


class Trainer(TinyTrainer):
    """Loads by a worker, accumulates, averages weights, shrinks scales."""

    def _loader(self, phase: str) -> Any:
        data = self.parts["data"]
        options: dict[str, Any] = {"multiprocessing_context": "fork"} if phase == "train" else {}
        return self.build_dataloader(data, 3, int(phase == "train"), phase=phase, **options)


def _net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def _train(folder: Path) -> list[torch.Tensor]:
    """Train, with an end and a resume in between; return weights and averages."""
    cfg = {"work_dir": str(folder), "resume": "auto", "ema_decay": 0.9, "slim_lambda": 0.01}
    cfg |= {"accumulate_steps": 2, "clip_grad_norm": 1.0}
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(12, 3, generator=generator)
    data = torch.utils.data.TensorDataset(points, points.argmax(1))
    for epochs in (1, 2):
        trainer = Trainer({**cfg, "num_epochs": epochs}, model=_net(), data=data)
        trainer.run()
        trainer.train_loader.close()
    return [weights(trainer), trainer.optimizer.state_dict()["state"][0]["momentum_buffer"]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    """What comes out with all of the names."""
    return _train(tmp_path_factory.mktemp("expected"))


@pytest.mark.parametrize("name", private.NAMES)
def test_a_run_comes_to_the_same_end_without(name, expected, tmp_path, monkeypatch):
    monkeypatch.setitem(private._FOUND, name, None)
    for one, other in zip(_train(tmp_path), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_run_comes_to_the_same_end_without_any(expected, tmp_path, monkeypatch):
    for name in private.NAMES:
        monkeypatch.setitem(private._FOUND, name, None)
    for one, other in zip(_train(tmp_path), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["mul_", "div_", "sub_", "lerp_", "clamp_max", "clamp_min_"])
def test_a_loop_does_what_one_call_does(method, monkeypatch):
    def found() -> Any:
        tensors = [torch.arange(3.0), torch.full((2, 2), -1.5)]
        others: list[Any] = [2.0]
        if method == "lerp_":
            others = [[torch.ones(3), torch.zeros(2, 2)], 0.25]
        if method in ("sub_",):
            others = [[torch.ones(3), torch.zeros(2, 2)]]
        returned = private.foreach(method, tensors, *others)
        return tensors if method.endswith("_") else returned

    together = found()
    monkeypatch.setitem(private._FOUND, f"torch._foreach_{method}", None)
    assert all(map(torch.equal, found(), together))


def test_a_map_without_torchs(monkeypatch):
    tree = {"a": [torch.ones(2), 3], "b": (torch.zeros(1), None), "c": "text"}
    together = private.map_tensors(torch.neg, tree)
    monkeypatch.setitem(private._FOUND, "torch.utils._pytree.tree_map_only", None)
    apart = private.map_tensors(torch.neg, tree)
    assert str(apart) == str(together)


@pytest.mark.parametrize(
    "name", [one for one in private.NAMES if "hooks" in one or "profiler" in one]
)
def test_without_a_flag_torchs_own_step_serves(name, monkeypatch):
    monkeypatch.setitem(private._FOUND, name, None)
    net = _net()
    stepper = Stepper(torch.optim.SGD(net.parameters(), lr=0.1))
    entered = []
    opened: Any = torch.autograd.profiler.record_function
    plain = opened.__enter__

    def enter(self: Any) -> Any:
        entered.append(self)
        return plain(self)

    monkeypatch.setattr(opened, "__enter__", enter)
    stepper.step()
    assert entered


@pytest.mark.parametrize("name", [one for one in private.NAMES if "worker" in one or "pin" in one])
def test_workers_end_without(name, monkeypatch):
    monkeypatch.setitem(private._FOUND, name, None)
    loader = EpochLoader(range(12), batch_size=3, num_workers=1, persistent_workers=True)
    set_position(loader, 0, 0)
    assert len(list(loader)) == 4
    processes = list(loader._waiting._workers)
    loader.close()
    for process in processes:
        process.join(20)
        assert process.exitcode is not None


def test_what_cannot_be_done_without_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(private._FOUND, "torch.utils._python_dispatch.TorchDispatchMode", None)
    with pytest.raises(BaseTrainerError, match="HostReads needs torch"):
        HostReads()
    monkeypatch.setitem(private._FOUND, ".require_forward_param_sync", None)
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = nn.Linear(1, 1)
    refused = pytest.raises(BaseTrainerError, match="require_forward_param_sync")
    with refused, evaluating(wrapped):
        pass


def test_without_the_store_a_rank_hears_at_the_end_only(monkeypatch):
    monkeypatch.setitem(
        private._FOUND, "torch.distributed.distributed_c10d._get_default_store", None
    )
    flag = SharedFlag(DistContext(rank=0, world_size=2))
    assert flag.call(3) == 3
    assert flag.call(0) == 0


def test_without_the_question_the_cpu_has_no_bf16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setitem(private._FOUND, "torch.cpu._is_avx512_bf16_supported", None)
    assert bf16_unit(torch.device("cpu")) == ""


def test_metadata_goes_along_or_is_left_out(monkeypatch):
    state = _net().state_dict()
    assert private.metadata_of(snapshot(state)) == private.metadata_of(state) != None  # noqa: E711
    monkeypatch.setitem(private._FOUND, "._metadata", None)
    assert private.metadata_of(snapshot(state)) is None


WITHOUT = """
import importlib, torch, torch.distributed, torch.utils.data
from torch.utils import _pytree, _python_dispatch
names = {names!r}
for name in names:
    module, _, own = name.rpartition(".")
    if module:
        delattr(importlib.import_module(module), own)
import basetrainer
from basetrainer import _torch_private as private
assert not [name for name in names if name[0] != "." and private._FOUND[name] is not None]
for name in ("engine.engine", "engine.trainer", "data.loader", "distributed.strategy"):
    importlib.import_module(f"basetrainer.{{name}}")
importlib.import_module("basetrainer.testing.host_reads")
"""


def test_everything_can_be_imported_without_any():
    code = WITHOUT.format(names=list(private.NAMES))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- names and messages that are matched as text -----------------------------------------------


def test_functions_that_are_known_by_name_have_that_name():
    assert hasattr(torch.autograd.graph, private.BACKWARD)
    assert hasattr(importlib.import_module("torch.optim.optimizer"), private.OPTIMIZER_READ)
    assert group._call_main.__name__ == notes.MAIN
    for module in (torch.distributed.distributed_c10d, torch.nn.parallel.distributed):
        file = str(module.__file__).replace("\\", "/")
        assert any(one in file for one in private._WAITS)


@pytest.mark.parametrize(
    ("module", "message", "pattern"),
    [
        (torch.utils.data._utils.pin_memory, "in pin memory thread", workers._NOT_PINNED),
        (torch.utils.data.dataloader, "DataLoader worker (pid", workers._HAS_ENDED),
    ],
)
def test_messages_of_torchs_are_still_those_that_are_matched(module, message, pattern):
    assert pattern.search(message)
    assert message in inspect.getsource(module)


def test_the_end_of_the_pinning_thread_is_still_told_so():
    assert workers._PIN_THREAD_ENDED in inspect.getsource(inspect.getmodule(DataLoader))  # type: ignore[arg-type]
