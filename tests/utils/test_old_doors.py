"""plot_utils, summary and the functions of torch_tools that existing programs call."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from basetrainer.errors import CheckpointError, ConfigError
from basetrainer.utils import torch_tools
from basetrainer.utils.plot_utils import plot_multi_line
from basetrainer.utils.summary import SummaryWriter


def test_lines_are_drawn_with_their_names(monkeypatch):
    pytest.importorskip("matplotlib").use("template")
    figure = plot_multi_line([[0, 1], [0, 2]], [[1, 2], [3, 4]], ["a", "b"], "title", "x", "y")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("title", "x", "y")
    with pytest.raises(ConfigError, match="1 lists of x, 1 of y and 2 names"):
        plot_multi_line([[0]], [[1]], ["a", "b"])


def test_a_writer_writes_where_there_is_a_folder_and_nowhere_else(tmp_path):
    silent = SummaryWriter(None)
    silent.add_scalar("loss", 1.0, 0)
    silent.add_scalars("losses", {"a": 1.0}, 0)
    silent.add_image("image", torch.zeros(3, 2, 2), 0)
    silent.close()
    assert not list(tmp_path.iterdir())
    writer = SummaryWriter(str(tmp_path / "log"))
    writer.add_scalar("loss", 1.0, 0)
    writer.flush()
    writer.close()
    (file,) = (tmp_path / "log").iterdir()
    assert file.stat().st_size > 100


def test_weights_that_fit_are_loaded_and_files_are_read_with_plain_names(tmp_path):
    source, model = nn.Linear(3, 2), nn.Linear(3, 2)
    wrapped = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"epoch": 3, "model": wrapped}, tmp_path / "a.pth")
    assert torch_tools.load_pretrained_model(model, tmp_path / "a.pth") is model
    assert torch.equal(model.weight, source.weight)
    read = torch_tools.load_state_dict(tmp_path / "a.pth", weights_only=False)
    assert list(read) == list(torch_tools.get_module_state_dict(wrapped)) == ["weight", "bias"]
    with pytest.raises(CheckpointError, match="Nothing in the given state fits Linear"):
        torch_tools.load_pretrained_model(model, {"other": torch.zeros(1)})
    (tmp_path / "broken.pth").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"broken\.pth cannot be read"):
        torch_tools.load_state_dict(tmp_path / "broken.pth")


def test_the_old_summary_counts_and_logs(caplog):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 6 * 4, 2))
    with caplog.at_level(logging.INFO, "basetrainer"):
        summary = torch_tools.nni_summary_model(model, input_size=[4, 6])
    assert summary.macs == 3 * 4 * 24 + 96 * 2
    assert "MACs" in caplog.text


def test_prefixes_are_renamed_as_their_map_says():
    state = nn.ModuleDict({"backbone": nn.Linear(2, 2), "fc": nn.Linear(2, 2)}).state_dict()
    renamed = torch_tools.rename_module(state, {"backbone.": "model.body.", "fc": "head"})
    assert list(renamed) == ["model.body.weight", "model.body.bias", "head.weight", "head.bias"]
    assert renamed["head.bias"] is state["fc.bias"]
    assert torch_tools.rename_module({"a": 1}, {"b": "c"}) == {"a": 1}
    assert torch_tools.rename_module({"a.b": 1}, {"a": "x", "a.b": "y"}) == {"x.b": 1}


def test_a_frozen_net_has_nothing_to_train():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    torch_tools.freeze_net_layers(model)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_a_printed_model_is_a_line_of_the_log_for_each_tensor(caplog, capsys):
    with caplog.at_level(logging.INFO, "basetrainer"):
        torch_tools.print_model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    assert caplog.messages[:2] == ["0.weight (4, 3, 1, 1)", "0.bias (4,)"]
    assert caplog.messages[-1] == "1.num_batches_tracked ()"
    assert capsys.readouterr().out == ""


def test_rename_module_replaces_a_name_wherever_it_stands():
    state = {"module.backbone.conv.weight": 1, "neck.backbone.bias": 2, "head.weight": 3}
    renamed = torch_tools.rename_module(state, {"backbone": "body", "module.": ""})
    assert renamed == {"body.conv.weight": 1, "neck.body.bias": 2, "head.weight": 3}
    assert list(renamed) == ["body.conv.weight", "neck.body.bias", "head.weight"]
    with pytest.raises(ConfigError, match=r"gives two entries the name 'x\.w'"):
        torch_tools.rename_module({"a.w": 1, "b.w": 2}, {"a": "x", "b": "x"})
