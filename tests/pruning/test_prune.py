"""prune(): both backends remove what was asked for, and leave everything else as it was."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from basetrainer.errors import ConfigError, PruningError
from basetrainer.models.freeze import freeze
from basetrainer.models.load_pruned import load_pruned
from basetrainer.models.structure import structure_of
from basetrainer.pruning.options import BACKENDS
from basetrainer.pruning.prune import prune as prune_typed
from tests.fixtures.programs import run_program
from tests.fixtures.pruning_nets import SIZE, ZOO, ResidualNet, SmallCNN, images, needs, trained

prune: Any = prune_typed  # results whose layers the type checker need not know
KEPT = {0.2: (0.62, 0.73), 0.5: (0.25, 0.40)}  # of the parameters, at these sparsities


def snapshot(net: nn.Module) -> dict[str, Any]:
    """All that pruning must leave alone."""
    return {
        "state": {name: value.clone() for name, value in net.state_dict().items()},
        "flags": {name: one.requires_grad for name, one in net.named_parameters()},
        "modes": {name: one.training for name, one in net.named_modules()},
        "identity": {name: id(one) for name, one in net.named_parameters()},
        "attributes": {name: sorted(vars(one)) for name, one in net.named_modules()},
        "rng": torch.get_rng_state(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(torch.equal(one, other)) if isinstance(one, Tensor) else bool(one == other)


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("kind", [SmallCNN, ResidualNet])
@pytest.mark.parametrize("sparsity", KEPT)
@pytest.mark.parametrize("algorithm", ["L1", "L2", "FPGM", "Slim"])
def test_both_backends_shrink_alike_and_what_they_leave_trains_saves_and_reloads(
    kind, sparsity, algorithm, tmp_path
):
    needs()
    net = trained(kind)
    before = snapshot(net)
    results = [prune(net, SIZE, sparsity, algorithm, backend=backend) for backend in BACKENDS]
    assert same(snapshot(net), before)
    assert shapes(results[0].model) == shapes(results[1].model)
    for result in results:
        full, left = result.parameters
        assert KEPT[sparsity][0] < left / full < KEPT[sparsity][1]
        assert result.macs[1] < result.macs[0]
        assert result.skipped == ()
        pruned = result.model
        losses = train(pruned)
        assert losses[-1] < losses[0]
        torch.save(pruned.state_dict(), tmp_path / "pruned.pth")
        again = load_pruned(tmp_path / "pruned.pth", trained(kind, seed=1))
        assert torch.equal(pruned.eval()(images()), again.eval()(images()))
        assert structure_of(again) == structure_of(pruned) == result.structure


def train(net: nn.Module, steps: int = 8) -> list[float]:
    optimizer = SGD(net.train().parameters(), lr=0.05)
    labels = torch.tensor([0, 1, 2])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images()), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [SmallCNN, ResidualNet])
def test_without_shifts_the_pruned_network_is_the_masked_one(backend, kind):
    needs(backend)
    net: Any = trained(kind).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.bias)
            module.running_mean = torch.zeros(module.num_features)
    pruned: Any = prune(net, SIZE, 0.5, backend=backend).model
    small = dict(pruned.named_modules())
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):  # scales are drawn: each names its channel
                module.weight.mul_(torch.isin(module.weight, small[name].weight))
        if kind is ResidualNet:
            kept = net.depthwise[1].weight != 0
            net.shortcut.weight *= kept[:, None, None, None]
            net.shortcut.bias *= kept
    assert torch.allclose(net(images()), pruned.eval()(images()), atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_slim_removes_the_channels_with_the_smallest_scales_of_a_whole_group(backend):
    needs(backend)
    net = trained(ResidualNet)
    scales = torch.linspace(0.1, 1.6, 16)[torch.randperm(16)]
    with torch.no_grad():
        # stem and one are added up: they rank by the mean of both, and lose the same channels.
        net.stem[1].weight.copy_(2 * scales)
        net.one[1].weight.fill_(1e-3)
    pruned = prune(net, SIZE, 0.5, "Slim", backend=backend).model
    expected = 2 * scales[scales > scales.median()]
    assert torch.equal(pruned.stem[1].weight, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_modes_frozen_flags_counters_and_attributes_come_along(backend):
    needs(backend)
    net = trained(ResidualNet).eval()
    freeze(net, ["stem", "shortcut"])
    net.note = "mine"
    result = prune(net, SIZE, 0.5, backend=backend).model
    before, after = snapshot(net), snapshot(result)
    assert before["flags"] == after["flags"]
    assert before["modes"] == after["modes"]
    assert result.note == "mine"
    assert int(result.one[1].num_batches_tracked) == 7
    result.train()  # a frozen BatchNorm stays in eval mode
    assert not result.stem[1].training
    mean = result.one[1].running_mean.clone()
    result.eval()(images())
    assert torch.equal(mean, result.one[1].running_mean)
    result.train()(images())
    assert not torch.equal(mean, result.one[1].running_mean)


def test_half_precision_and_doubles_are_selected_bit_for_bit():
    needs("torch_pruning")
    for dtype in (torch.bfloat16, torch.float64):
        net = trained(SmallCNN).to(dtype)
        result = prune(net, SIZE, 0.5, backend="torch_pruning").model
        assert {one.dtype for one in result.parameters()} == {dtype}
        rows = {tuple(row.tolist()) for row in net.features[0][0].weight.flatten(1)}
        kept = {tuple(row.tolist()) for row in result.features[0][0].weight.flatten(1)}
        assert kept < rows


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_can_be_pruned_again_and_its_file_holds_both(backend, tmp_path):
    needs(backend)
    net = trained(ResidualNet)
    once = prune(net, SIZE, 0.3, backend=backend).model
    twice = prune(once, SIZE, 0.3, backend=backend).model
    torch.save(twice.state_dict(), tmp_path / "twice.pth")
    for full in (trained(ResidualNet), copy.deepcopy(once)):
        again = load_pruned(tmp_path / "twice.pth", full)
        assert torch.equal(again.eval()(images()), twice.eval()(images()))
    assert sum(one.numel() for one in twice.parameters()) < 0.6 * sum(
        one.numel() for one in once.parameters()
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_linear_layers_and_exclusions_are_as_asked(backend):
    needs(backend)
    net = trained(SmallCNN)
    result = prune(net, SIZE, 0.5, prune_linear=True, exclude="features.2", backend=backend)
    assert result.skipped == ("features.2.0", "head")
    assert result.model.hidden.out_features == 12
    assert result.model.features[2][0].in_channels == 8


def test_a_layer_left_out_keeps_those_it_is_added_to():
    needs()
    net = trained(ResidualNet)
    results = [prune(net, SIZE, 0.5, exclude="one", backend=backend) for backend in BACKENDS]
    assert shapes(results[0].model) == shapes(results[1].model)
    assert results[0].skipped == results[1].skipped == ("stem.0", "one.0")


def test_without_dependencies_less_of_a_residual_network_goes():
    needs("nni")
    net = trained(ResidualNet)
    aware, unaware = (
        prune(net, SIZE, 0.5, dependency_aware=flag).parameters[1] for flag in (True, False)
    )
    assert aware < unaware < sum(one.numel() for one in net.parameters())


def test_level_makes_weights_zero_again_and_again_and_needs_no_backend(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nni", None)
    net = trained(SmallCNN)
    once = prune(net, SIZE, 0.5, "Level")
    twice = prune(once.model, SIZE, 0.5, "Level")
    assert once.parameters[0] == once.parameters[1]
    assert once.structure["zeros"] == ["features.0.0", "features.2.0"]
    for result, share in ((once, 0.5), (twice, 0.75)):
        weight = result.model.features[2][0].weight
        assert float((weight == 0).double().mean()) == pytest.approx(share, abs=1e-3)
    kept = once.model.features[0][0].weight
    full = net.features[0][0].weight
    assert full[kept == 0].abs().max() <= full[kept != 0].abs().min()


PROGRAM = """
import logging, threading, warnings
warnings.simplefilter("error")
from basetrainer.pruning.prune import prune
from tests.fixtures.pruning_nets import SIZE, ResidualNet, trained
prune(trained(ResidualNet), SIZE, 0.5)
prune(trained(ResidualNet), SIZE, 0.5, backend="torch_pruning")
assert logging.getLogger().handlers == []
assert [one.name for one in threading.enumerate()] == ["MainThread"]
"""


def test_nothing_is_printed_no_thread_is_left_and_no_warning_is_raised():
    needs()
    Path("program.py").write_text(PROGRAM)
    done = run_program("program.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What the study of the zoo found: who can take which network, and the reason that is given.
UNABLE = {
    ("Scaled", "nni"): "cannot be run",
    ("Branching", "nni"): "cannot be traced by torch.fx",
    ("HardCoded", "nni"): "numbers of channels",
    ("HardCoded", "torch_pruning"): "numbers of channels",
    ("Attention", "nni"): "NNI cannot prune",
    ("Chunked", "torch_pruning"): "torch-pruning cannot prune",
    ("Auxiliary", "nni"): "cannot be run in training",
    ("Auxiliary", "torch_pruning"): "cannot be run in training",
    ("Subclassed", "nni"): "cannot be run",
    ("OnlyOutputs", "nni"): "make the outputs",
    ("OnlyOutputs", "torch_pruning"): "make the outputs",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ZOO, ids=lambda kind: kind.__name__)
def test_every_network_is_pruned_right_or_refused_with_one_message_and_left_unharmed(
    kind, backend, tmp_path
):
    needs(backend)
    fresh, net = trained(kind, seed=1), trained(kind)
    before = snapshot(net)
    why = UNABLE.get((kind.__name__, backend))
    if why is not None:
        with pytest.raises(PruningError, match=why) as caught:
            prune(net, SIZE, 0.5, backend=backend)
        assert "\n" not in str(caught.value)
    else:
        result = prune(net, SIZE, 0.5, backend=backend)
        assert result.parameters[1] < 0.65 * result.parameters[0]
        torch.save(result.model.state_dict(), tmp_path / "pruned.pth")
        again = load_pruned(tmp_path / "pruned.pth", fresh)
        assert same(snapshot(again.eval())["state"], result.model.state_dict())
        ours, theirs = (flat(one.eval()(images())) for one in (result.model, again))
        assert all(map(torch.equal, ours, theirs))
    assert same(snapshot(net), before)


def flat(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs.values())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "sparsity is 0": ({"sparsity": 0.0}, "sparsity"),
    "sparsity is 1": ({"sparsity": 1.0}, "sparsity"),
    "sparsity is in percent": ({"sparsity": 50}, "sparsity"),
    "no such algorithm": ({"prune_mod": "L3"}, "L1, L2, FPGM, Slim, Level"),
    "no such backend": ({"backend": "nnj"}, "Did you mean 'nni'"),
    "nothing to exclude": ({"exclude": ["layer9"]}, "layer9"),
    "unaware torch-pruning": (
        {"backend": "torch_pruning", "dependency_aware": False},
        "dependency_aware",
    ),
    "wrong input": ({"input_size": (5, 16, 16)}, "5x16x16"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused_before_anything_is_done(case):
    needs()
    options, message = BAD[case]
    arguments: dict[str, Any] = {"input_size": SIZE, "sparsity": 0.5, **options}
    with pytest.raises(ConfigError, match=message):
        prune(trained(SmallCNN), **arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sparsity_that_removes_nothing_is_an_error(backend):
    needs(backend)
    with pytest.raises(PruningError, match="Nothing of SmallCNN was removed"):
        prune(trained(SmallCNN), SIZE, 0.01, backend=backend)


def test_excluding_everything_is_an_error():
    needs("nni")
    with pytest.raises(PruningError, match="no layer to prune"):
        prune(trained(SmallCNN), SIZE, 0.5, exclude=["features"])


def test_slim_without_batchnorms_is_an_error_on_both():
    needs()
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    for backend in BACKENDS:
        with pytest.raises(PruningError):
            prune(net, SIZE, 0.5, "Slim", backend=backend)


def test_the_result_says_what_happened_in_a_line():
    needs("torch_pruning")
    text = str(prune(trained(SmallCNN), SIZE, 0.5, backend="torch_pruning", exclude="features.2"))
    assert "M parameters (" in text
    assert text.endswith("left as they are: features.2.0")
    assert "\n" not in text


def test_a_whole_pruned_network_can_be_copied_and_pickled():
    needs("torch_pruning")
    net = prune(trained(ResidualNet), SIZE, 0.5, backend="torch_pruning").model
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    other: Any
    for other in (copy.deepcopy(net), torch.load(file, weights_only=False)):
        assert structure_of(other) == structure_of(net) != {}
        assert other.state_dict()._metadata[""]["structure"] == structure_of(net)
