"""PruneOptions: defaults, conversions, and messages that name key, value, place and mend."""

from __future__ import annotations

import pytest

from basetrainer.config.settings import with_origins
from basetrainer.errors import ConfigError
from basetrainer.pruning.options import PruneOptions


def test_a_configuration_without_keys_has_the_defaults():
    assert PruneOptions.from_cfg({}) == PruneOptions()
    assert str(PruneOptions()) == "nni L1 at sparsity 0.5"
    assert str(PruneOptions.from_cfg({"prune_mod": "level"})) == "Level at sparsity 0.5"


def test_values_are_converted():
    cfg = {"sparsity": "0.2", "prune_mod": "fpgm", "prune_exclude": "conv1", "prune_rounds": "2"}
    options = PruneOptions.from_cfg(cfg)
    assert (options.sparsity, options.prune_mod, options.prune_exclude) == (0.2, "FPGM", ("conv1",))
    assert PruneOptions.from_cfg({"prune_exclude": ["a", "b"]}).prune_exclude == ("a", "b")


def test_rounds_remove_as_much_together_as_one():
    for rounds in (1, 2, 5):
        options = PruneOptions(sparsity=0.6, prune_rounds=rounds)
        assert (1 - options.sparsity_of_round) ** rounds == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sparsity", 1.0, "is not less than 1"),
        ("sparsity", "half", "is not a number"),
        ("prune_mod", "FGPM", "Did you mean 'FPGM'"),
        ("prune_backend", "torch-pruning", "Did you mean 'torch_pruning'"),
        ("prune_rounds", 0, "less than 1"),
        ("prune_linear", "maybe", "neither true nor false"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(key, value, message):
    cfg = with_origins({key: value}, {key: "my.yaml, line 3"})
    with pytest.raises(ConfigError, match=message) as caught:
        PruneOptions.from_cfg(cfg)
    assert str(caught.value).startswith(f"{key}: ")
    assert "my.yaml, line 3" in str(caught.value)
