"""PruningReport: one row a stage, whatever figures a test has."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from basetrainer._logs import SetLogs
from basetrainer.pruning.options import PruneOptions
from basetrainer.pruning.report import PruningReport, latencies
from tests.fixtures.pruning_nets import SmallCNN, trained


def test_the_table_has_each_figure_and_is_written_after_each_stage(tmp_path):
    report = PruningReport(tmp_path, PruneOptions())
    net = trained(SmallCNN)
    report.add("trained", net, (3, 16, 16), {"Acc": 99.126, "loss": {"a": 1.0}, "note": "x"})
    sets = SetLogs({"clean": {"Acc": 98.0}, "noisy": {"Acc": 50.0}})
    report.add("pruned", nn.Sequential(net, nn.Linear(5, 5)), (3, 16, 16), sets, "far/away.pth")
    head, _, first, second = report.table().splitlines()
    assert head == "| stage | parameters | MACs | latency | Acc | clean/Acc | noisy/Acc | weights |"
    assert first.endswith("| 99.13 |  |  |  |")
    assert second.endswith("|  | 98 | 50 | `far/away.pth` |")
    assert len(report.latencies) == 2  # both timed in turn
    assert report.table() in (tmp_path / "pruning.md").read_text()
    assert str(Path(tmp_path)) not in str(report)


def test_a_network_is_timed_as_often_as_the_time_allows():
    net = trained(SmallCNN).eval()
    assert all(one > 0 for one in latencies([net, net], (3, 16, 16), seconds=0.0))
