"""The structure of a pruned network travels with its weights, and rebuilds it without a backend."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import CheckpointError, ConfigError, PruningError
from basetrainer.models.build_models import get_models
from basetrainer.models.finetune import finetune, read_state
from basetrainer.models.load_pruned import load_pruned
from basetrainer.models.rebuild import apply_structure, structure_between
from basetrainer.models.structure import (
    mark_pruned,
    rebuilding,
    rebuilt_structure,
    structure_in,
    structure_of,
)
from basetrainer.utils.torch_tools import load_state_dict
from tests.fixtures.programs import run_program


def full(classes: int = 5, width: int = 8) -> Any:
    """A network that needs no backend to be made smaller."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 3, groups=width),
        nn.Flatten(),
        nn.Linear(width * 4, classes),
    )


def halved(classes: int = 5) -> Any:
    """The same, with every second channel taken out by hand, and marked so."""
    torch.manual_seed(1)
    small = full(classes, width=4)
    mark_pruned(small, structure_between(full(classes), small))
    return small


def images() -> torch.Tensor:
    return torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_the_structure_names_what_changed_in_plain_values():
    structure = structure_of(halved())
    assert structure == {
        "format": 1,
        "layers": {
            "0": {
                "attributes": {"out_channels": 4},
                "shapes": {"weight": [4, -1, -1, -1], "bias": [4]},
            },
            "1": {
                "attributes": {"num_features": 4},
                "shapes": {key: [4] for key in ("weight", "bias", "running_mean", "running_var")},
            },
            "2": {
                "attributes": {"in_channels": 4, "out_channels": 4, "groups": 4},
                "shapes": {"weight": [4, -1, -1, -1], "bias": [4]},
            },
            "4": {"attributes": {"in_features": 16}, "shapes": {"weight": [-1, 16]}},
        },
    }
    assert structure_of(full()) == {}


def test_a_plain_file_of_weights_holds_it_and_so_does_one_that_says_it_beside(tmp_path):
    small = halved()
    files = {
        "plain.pth": small.state_dict(),
        "wrapped.pth": {"epoch": 1, "model": small.state_dict()},
        "beside.pth": {"structure": structure_of(small), "model": dict(small.state_dict())},
        "parallel.pth": nn.DataParallel(small).state_dict(),
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        assert structure_in(load_state_dict(tmp_path / name)) == structure_of(small), name
        again = load_pruned(tmp_path / name, full())
        assert torch.equal(again.eval()(images()), small.eval()(images())), name
    # Users load plain files as ever.
    plain = full(width=4)
    plain.load_state_dict(torch.load(tmp_path / "plain.pth", weights_only=True))


def test_finetune_takes_a_pruned_file_into_a_full_network_with_another_head(tmp_path, caplog):
    small = halved()
    torch.save(small.state_dict(), tmp_path / "small.pth")
    model = full(classes=7)
    report = finetune(model, tmp_path / "small.pth")
    assert report.wrong_shape.keys() == {"4.weight", "4.bias"}
    assert model(images()).shape == (2, 7)
    assert torch.equal(model[0].weight, small[0].weight)
    assert structure_of(model) == structure_of(small)
    assert "network" not in structure_of(model)
    finetune(model, tmp_path / "small.pth")  # once more changes nothing


def test_a_structure_that_does_not_fit_is_refused_and_changes_nothing():
    structure = structure_of(halved())
    cases: list[tuple[nn.Module, Any, str]] = [
        (full(width=2), structure, "pruned already"),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), structure, "has a layer '1'"),
        (full(), {**structure, "format": 9}, "format 9"),
        (full(), {"format": 1, "layers": {"0": {"attributes": {"x": 1}, "shapes": {}}}}, "'x'"),
        (full(), {"format": 1, "layers": {"0": {"attributes": {}, "shapes": {"w": [1]}}}}, "0.w"),
    ]
    for model, wrong, message in cases:
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(CheckpointError, match=message):
            apply_structure(model, wrong)
        after = model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert structure_of(model) == {}


def test_a_layer_that_became_another_thing_cannot_be_described():
    for other in (nn.Identity(), nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 8, 3, bias=False)):
        changed = full()
        changed[0] = other
        if isinstance(other, nn.Conv2d) and other.bias is None:
            changed[0].extra = nn.Parameter(torch.zeros(1))
        with pytest.raises(PruningError, match="exclude"):
            structure_between(full(), changed)


def test_parameters_keep_their_flags_and_tied_ones_stay_tied():
    model = full()
    model[0].weight.requires_grad_(False)
    model.append(nn.BatchNorm2d(8))
    model[5].weight = model[1].weight
    structure = structure_of(halved())
    structure["layers"]["5"] = structure["layers"]["1"]
    apply_structure(model, structure)
    assert not model[0].weight.requires_grad
    assert model[2].weight.requires_grad
    assert model[5].weight is model[1].weight


def test_load_pruned_alone_builds_what_get_models_made(tmp_path):
    model = get_models("resnet18", [32, 32], 4, pretrained=False, small_input=True)
    small: Any = copy.deepcopy(model)
    small.layer1[0].conv1 = nn.Conv2d(64, 16, 3, padding=1, bias=False)
    small.layer1[0].bn1 = nn.BatchNorm2d(16)
    small.layer1[0].conv2 = nn.Conv2d(16, 64, 3, padding=1, bias=False)
    mark_pruned(small, structure_between(model, small))
    torch.save(small.state_dict(), tmp_path / "small.pth")
    again = load_pruned(tmp_path / "small.pth")
    assert not again.training
    assert all(
        torch.equal(value, small.state_dict()[name]) for name, value in again.state_dict().items()
    )
    assert structure_of(again)["network"]["net_type"] == "resnet18"
    # With another number of classes the file is not taken for that of ten.
    other = get_models("resnet18", [32, 32], 9, pretrained=False, small_input=True)
    finetune(other, tmp_path / "small.pth")
    assert structure_of(other)["network"]["num_classes"] == 9


def test_load_pruned_says_what_is_wrong_with_a_file(tmp_path):
    torch.save(full().state_dict(), tmp_path / "full.pth")
    torch.save(halved().state_dict(), tmp_path / "small.pth")
    with pytest.raises(ConfigError, match=r"absent\.pth"):
        load_pruned(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="no structure"):
        load_pruned(tmp_path / "full.pth", full())
    with pytest.raises(CheckpointError, match="does not say which network"):
        load_pruned(tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_pruned(tmp_path / "small.pth", full(classes=7))


PROGRAM = """
import sys
for name in ("nni", "torch_pruning"):
    sys.modules[name] = None  # importing it raises
import torch, basetrainer as bt
from basetrainer.models.structure import rebuilding, structure_in
model = bt.load_pruned(sys.argv[1])
print(model(torch.ones(1, 3, 32, 32)).tolist())
state = torch.load(sys.argv[1], weights_only=True)
with rebuilding(structure_in(state)):  # as a run that goes on
    full = bt.get_models("mobilenet_v2", [32, 32], 4, 0.25, pretrained=False)
    again = bt.model_pruning(full, [32, 32], 0.5).eval()
again.load_state_dict(state)
assert torch.equal(again(torch.ones(1, 3, 32, 32)), model(torch.ones(1, 3, 32, 32)))
"""


def test_a_pruned_network_is_loaded_and_gone_on_with_where_no_backend_is_installed(tmp_path):
    from basetrainer.pruning.prune import prune
    from tests.fixtures.pruning_nets import needs

    needs("torch_pruning")
    torch.manual_seed(0)
    model = get_models("mobilenet_v2", [32, 32], 4, 0.25, pretrained=False)
    small = prune(model, [32, 32], 0.5, backend="torch_pruning").model.eval()
    file = tmp_path / "small.pth"
    torch.save(small.state_dict(), file)
    Path("program.py").write_text(PROGRAM)
    done = run_program("program.py", str(file))
    assert done.returncode == 0, done.stderr
    outputs = torch.tensor(eval(done.stdout))
    assert torch.allclose(outputs, small(torch.ones(1, 3, 32, 32)), atol=1e-6)


def test_rebuilding_ends_with_its_block_and_changes_nothing_without_a_structure():
    with rebuilding({}):
        assert rebuilt_structure() is None
    structure = structure_of(halved())
    with rebuilding(structure):
        assert rebuilt_structure() == structure
        with rebuilding(None):
            assert rebuilt_structure() == structure
    assert rebuilt_structure() is None


def test_metadata_of_torch_is_kept_beside_the_structure(tmp_path):
    torch.save(halved().state_dict(), tmp_path / "small.pth")
    state: Any = read_state(tmp_path / "small.pth")
    assert state._metadata["1"]["version"] == 2  # of BatchNorm: num_batches_tracked is there
