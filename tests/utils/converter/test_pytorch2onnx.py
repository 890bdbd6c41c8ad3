"""convert2onnx: what it asks of torch's exporter."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from basetrainer.errors import ConfigError, MissingExtraError
from basetrainer.utils.converter.pytorch2onnx import convert2onnx


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the exporter was asked for; the packages it needs are stood in for."""
    found: dict[str, Any] = {}

    def export(model: nn.Module, args: tuple[Any, ...], path: str, **options: Any) -> None:
        found.update(options, model=model, args=args, path=path)

    checker = ModuleType("onnx.checker")
    checker.check_model = lambda path: found.update(checked=path)  # type: ignore[attr-defined]
    for name in ("onnx", "onnxscript"):
        package = ModuleType(name)
        package.__spec__ = ModuleSpec(name, None)  # torch looks for it
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, "onnx.checker", checker)
    monkeypatch.setattr(torch.onnx, "export", export)
    return found


def test_a_dynamic_file_takes_other_batches_and_sizes(asked, tmp_path):
    path = convert2onnx(net(), (1, 3, 16, 16), onnx_file=str(tmp_path / "new" / "a.onnx"))
    assert path == asked["path"] == asked["checked"]
    assert Path(path).parent.is_dir()
    assert asked["input_names"] == ["input"]
    assert not asked["model"].training
    exported = torch.export.export(
        asked["model"], asked["args"], dynamic_shapes=asked["dynamic_shapes"]
    )
    assert exported.module()(torch.zeros(5, 3, 20, 24)).shape == (5, 2)


def test_a_fixed_file_takes_one_image(asked):
    convert2onnx(net(), (4, 3, 16, 16), dynamic=False, simplify=False)
    assert asked["path"] == "output/model.onnx"
    assert asked["args"][0].shape == (1, 3, 16, 16)
    assert asked["dynamic_shapes"] is None
    assert asked["optimize"] is False


def test_without_onnx_the_message_says_how_to_install_it(monkeypatch):
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module.partition(".")[0])

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[export\]'"):
        convert2onnx(net(), (1, 3, 16, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"use_prune": True}, "Prune first"), ({"input_shape": (3, 8, 8)}, r"\(B, C, H, W\)")],
)
def test_what_it_cannot_do_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        convert2onnx(net(), **{"input_shape": (1, 3, 16, 16), **options})


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # of torch 2.10, at itself
def test_a_real_file_computes_what_the_network_does(tmp_path, capsys):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed; it comes with the dev extra")
    import onnxruntime

    model = net()
    path = convert2onnx(model, (1, 3, 16, 16), ["image"], ["scores"], tmp_path / "a.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["a.onnx"]  # the weights are in it
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 16, 16), (5, 3, 20, 24)):
        image = torch.randn(shape)
        (scores,) = session.run(["scores"], {"image": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(scores), model(image).detach())
    assert capsys.readouterr().out == ""
