"""Programs that show what an installed wheel and each of its extras can do."""

from __future__ import annotations

import re
import subprocess

NO_SOCKETS = """
import sys

def refuse(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise AssertionError(f"{event} {args[1:]}")
    if event == "socket.connect" and not isinstance(args[1], (str, bytes)):  # loader workers' pipes
        raise AssertionError(f"socket.connect {args[1]}")

sys.addaudithook(refuse)
"""

PROGRAM = """
import basetrainer as bt
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Trainer(bt.EngineTrainer):
    def build_train_loader(self, cfg, **kwargs):
        data = TensorDataset(torch.randn(64, 8), torch.randint(3, (64,)))
        return self.build_dataloader(data, 8, 2)

    def build_test_loader(self, cfg, **kwargs):
        return self.build_train_loader(cfg)

    def build_model(self, cfg, **kwargs):
        return self.build_model_parallel(nn.Linear(8, 3))

    def build_criterion(self, cfg, **kwargs):
        return nn.CrossEntropyLoss()

    def build_optimizer(self, cfg, **kwargs):
        return bt.get_optimizer(self.model, optim_type="SGD", lr=0.1)

    def build_callbacks(self, cfg, **kwargs):
        saver = bt.ModelCheckpoint(self.model, self.optimizer, "run/model", 2, indicator="Acc")
        return [bt.LossesRecorder(), bt.AccuracyRecorder(), bt.LogHistory("run/log"), saver]

for num_epochs in (1, 2):  # and go on
    trainer = Trainer({"num_epochs": num_epochs, "resume": "auto", "work_dir": "run"})
    trainer.build(trainer.cfg)
    trainer.run()
print(bt.__file__)
"""

_PRUNE = """
from torch import nn
from basetrainer.pruning.nni_pruning import model_pruning

head = nn.Flatten(), nn.Linear(576, 2)
net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), *head)
assert model_pruning(net, 16, 0.5, backend={backend!r})[0].out_channels == 4
"""

PROMISES = {
    "plots": """
from basetrainer.scheduler.draw import draw_lr

assert draw_lr({"lr": [0.1, 0.05]}, "lr.png").stat().st_size > 1000
""",
    "example": """
from basetrainer.datasets.digits import write_digits

assert len(list(write_digits("digits").glob("*/*/*.png"))) == 1797
""",
    "timm": """
from basetrainer.models.build_models import get_models

assert get_models("timm/test_resnet", [64, 64], 5, pretrained=False).num_classes == 5
""",
    "export": """
from pathlib import Path
from torch import nn
from basetrainer.utils.converter.pytorch2onnx import convert2onnx

assert Path(convert2onnx(nn.Conv2d(3, 4, 3), (1, 3, 8, 8), onnx_file="net.onnx")).stat().st_size
""",
    "prune": _PRUNE.format(backend="nni") + _PRUNE.format(backend="torch_pruning"),
}
"""What each extra is for, as a program that fails without it."""

REFUSED = re.compile(r"MissingExtraError: .+ pip install '.*\[(\w+)\]'$")


def refused(done: subprocess.CompletedProcess[str]) -> str | None:
    """Return the extra that the last line asks for."""
    match = REFUSED.search((done.stderr.splitlines() or [""])[-1])
    return match[1] if match else None
