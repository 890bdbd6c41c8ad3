"""model_pruning: the arguments that existing programs pass, and what they mean now."""

from __future__ import annotations

import inspect
import logging
import sys

import pytest
import torch
from torch import nn

import basetrainer as bt
from basetrainer.distributed.context import DistContext
from basetrainer.distributed.strategy import wrap
from basetrainer.errors import ConfigError, MissingExtraError
from basetrainer.models.structure import structure_of
from basetrainer.pruning.nni_pruning import model_pruning
from tests.fixtures.pruning_nets import ResidualNet, SmallCNN, images, needs, trained


def test_the_names_and_the_order_of_the_old_arguments_are_kept():
    names = list(inspect.signature(model_pruning).parameters)
    assert names[:11] == [
        *("model", "input_size", "sparsity", "prune_mod", "reuse", "speedup", "output_prune"),
        *("mask_file", "dependency_aware", "device", "verbose"),
    ]
    assert bt.model_pruning is model_pruning


def test_a_call_of_an_old_program_prunes_and_a_later_one_reuses_it(tmp_path, monkeypatch):
    needs("nni")
    net = trained(ResidualNet)
    folder = tmp_path / "prune"
    pruned = model_pruning(
        net, input_size=[1, 3, 16, 16], sparsity=0.2, reuse=False, output_prune=str(folder)
    )
    assert [file.name for file in folder.iterdir()] == ["pruned_L1.pth"]
    monkeypatch.setitem(sys.modules, "nni", None)
    again = model_pruning(
        trained(ResidualNet, seed=1),
        input_size=[8, 3, 16, 16],
        sparsity=0.2,
        reuse=True,
        output_prune=str(folder),
        device="cpu",
    )
    assert structure_of(again) == structure_of(pruned) != {}
    assert torch.equal(again.eval()(images()), pruned.eval()(images()))
    file = folder / "pruned_L1.pth"
    by_file = model_pruning(net, reuse=True, mask_file=file)
    assert torch.equal(by_file.eval()(images()), pruned(images()))
    assert structure_of(net) == {}


@pytest.mark.parametrize("size", [16, [16, 16], (3, 16, 16), [1, 3, 16, 16]])
def test_every_way_to_give_the_size_is_understood(size, caplog):
    needs("torch_pruning")
    with caplog.at_level(logging.INFO):
        pruned = model_pruning(trained(SmallCNN), size, 0.5, verbose=True, backend="torch_pruning")
    assert isinstance(pruned, nn.Module)
    assert "pruned by torch_pruning L1 at sparsity 0.5" in caplog.text
    assert "features.0.0" in caplog.text  # the table of layers


def test_a_wrapped_network_is_pruned_by_what_is_in_it():
    needs("torch_pruning")
    inner = trained(SmallCNN)
    for net in (nn.DataParallel(inner), wrap(inner, DistContext())):
        assert isinstance(model_pruning(net, 16, 0.5, backend="torch_pruning"), SmallCNN)


def test_what_it_cannot_do_is_refused(monkeypatch):
    net = trained(SmallCNN)
    with pytest.raises(ConfigError, match="speedup"):
        model_pruning(net, 16, speedup=False)
    with pytest.raises(ConfigError, match="output_prune"):
        model_pruning(net, 16, reuse=True)
    with pytest.raises(ConfigError, match=r"absent\.pth"):
        model_pruning(net, 16, reuse=True, mask_file="absent.pth")
    for backend in ("nni", "torch_pruning"):
        monkeypatch.setitem(sys.modules, backend, None)
        with pytest.raises(MissingExtraError, match=r"pip install '.*\[prune\]'"):
            model_pruning(net, 16, 0.5, backend=backend)
