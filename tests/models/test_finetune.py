"""finetune: what fits is loaded, what does not is said."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.models.finetune import finetune, read_state


def net(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, classes))


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize(
    "wrap", [dict, lambda s: {"model": s}, lambda s: {"state_dict": s, "n": 1}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_found_however_they_were_saved(tmp_path: Path, wrap: Any, prefix: str) -> None:
    source, model = net(), net()
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    torch.save(wrap(state), tmp_path / "weights.pth")
    report = finetune(model, tmp_path / "weights.pth")
    assert len(report.matched) == 9
    assert (report.missing, report.unexpected, report.wrong_shape) == ((), (), {})
    name = "0.weight"
    assert model.get_parameter(name).equal(source.get_parameter(name))


def test_the_report_names_what_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    state = net(7).state_dict()
    del state["1.bias"]
    state["extra.weight"] = torch.zeros(1)
    with caplog.at_level("INFO", "basetrainer"):
        report = finetune(net(), state)
    assert report.missing == ("1.bias",)
    assert report.unexpected == ("extra.weight",)
    assert report.wrong_shape == {"2.weight": ((7, 5), (3, 5)), "2.bias": ((7,), (3,))}
    assert len(report.matched) == 6
    assert len(caplog.records) == 1
    assert caplog.messages[0] == (
        "finetune the given state: 6 of 9 tensors loaded; not in the file: 1.bias; of another "
        "shape: 2.weight (7, 5) for (3, 5), 2.bias (7,) for (3,); not in the model: extra.weight"
    )


def test_a_wrapped_model_and_one_with_a_module_of_that_name_are_told_apart() -> None:
    source = net()
    assert len(finetune(Wrapper(net()), source.state_dict()).matched) == 9
    both = nn.ModuleDict({"module": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    assert len(finetune(both, both.state_dict()).matched) == 4


def test_versions_of_layers_survive_the_loading() -> None:
    state = nn.Sequential(net()).state_dict()
    seen: list[Any] = []

    class Looks(nn.Sequential):
        def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            seen.append(metadata.get("version"))
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    finetune(Looks(net()), {f"module.{name}": value for name, value in state.items()})
    finetune(Looks(net()), state)
    assert seen == [None, 1]


def test_a_long_report_is_cut_short() -> None:
    state = net().state_dict()
    for index in range(9):
        state[f"extra{index}"] = torch.zeros(1)
    assert "extra3 and 5 more" in str(finetune(net(), state))


def test_what_fits_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"finetune got a Sequential.*model.state_dict\(\)"):
        finetune(net(), net())  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="Nothing in the given state fits Sequential"):
        finetune(net(), {"head.weight": torch.zeros(1)})


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file of weights .*gone.pth.*current folder"):
        read_state(tmp_path / "gone.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match=r"broken.pth cannot be read as a file of weights"):
        read_state(tmp_path / "broken.pth")
    torch.save(net(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"save model.state_dict\(\), not the model"):
        read_state(tmp_path / "model.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list, not a state dict"):
        read_state(tmp_path / "list.pth")


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit",)


def test_a_file_never_runs_code(tmp_path: Path) -> None:
    with (tmp_path / "evil.pth").open("wb") as file:
        pickle.dump({"model": Evil()}, file, protocol=2)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(tmp_path / "evil.pth")
