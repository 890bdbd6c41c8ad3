"""The settings that configs share: what is accepted, converted, refused, and suggested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from basetrainer._names import nearest_key
from basetrainer.config.keys import all_keys, check_key, check_keys, warn_of_misspellings
from basetrainer.config.values import as_bool, as_choice, as_float, as_int
from basetrainer.errors import ConfigError

ORIGIN = "configs/config.yaml, line 12"


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("num_epochs", "32", 32),
        ("num_epochs", 3.0, 3),
        ("num_epochs", "3.0", 3),
        ("num_epochs", np.int64(3), 3),
        ("lr", "0.01", 0.01),
        ("lr", "1e-3", 1e-3),
        ("lr", 1, 1.0),
        ("momentum", 0, 0.0),
        ("num_warn_up", 3, 3),
        ("num_warn_up", "2.5", 2.5),
        ("gpu_id", 0, [0]),
        ("gpu_id", "0,1", [0, 1]),
        ("gpu_id", "[0, 1]", [0, 1]),
        ("gpu_id", (2, "3"), [2, 3]),
        ("milestones", [20, 35], [20, 35]),
        ("milestones", [35, 20], [35, 20]),
        ("milestones", "20, 35", [20, 35]),
        ("milestones", [], []),
        ("input_size", 224, [224, 224]),
        ("input_size", [112], [112, 112]),
        ("input_size", (112, 96), [112, 96]),
        ("rgb_mean", [0.5, "0.5", 0], [0.5, 0.5, 0.0]),
        ("rgb_std", 0.5, 0.5),
        ("train_data", ["a", Path("b")], ["a", "b"]),
        ("train_data", {"x": "a", "y": ["b"]}, {"x": "a", "y": ["b"]}),
        ("class_name", {"cat": 0}, {"cat": 0}),
        ("class_name", "classes.txt", "classes.txt"),
        ("loss_type", {"a": 0.5}, {"a": 0.5}),
        ("work_dir", Path("out"), "out"),
        ("progress", "Yes", True),
        ("progress", "FALSE", False),
        ("pretrained", 0, False),
        ("pretrained", "True", True),
        ("pretrained", "IMAGENET1K_V2", "IMAGENET1K_V2"),
        ("pretrained", "weights/best.pth", "weights/best.pth"),
        ("optim_args", {"betas": [0.9, 0.95]}, {"betas": [0.9, 0.95]}),
        ("net_args", None, {}),
        ("loss_args", [], {}),
        ("on_broken", "Skip", "skip"),
        ("num_workers", "auto", "auto"),
        ("num_workers", " Auto", "auto"),
        ("num_workers", "4", 4),
        ("cache", "Disk", "disk"),
        ("cache", False, None),
        ("cache_size", 0, 0),
        ("distributed", np.bool_(True), True),
        ("log_freq", 0, 0),
        ("finetune", False, False),
        ("finetune", "a.pth", "a.pth"),
        ("flag", 3, "3"),
        ("flag", "", ""),
        ("resample", {"any": 1}, {"any": 1}),
        ("my_own", object, object),
    ],
)
def test_good_values_are_converted(name, given_value, value):
    found = check_key(name, given_value, ORIGIN)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_epochs", "three", "'three' is not a whole number (PLACE). Write e.g. num_epochs: 30"),
        ("num_epochs", 0, "0 is less than 1 (PLACE). Write e.g. num_epochs: 30"),
        ("num_epochs", True, "True is not a whole number (PLACE). Write e.g. num_epochs: 30"),
        ("num_epochs", 2.5, "2.5 is not a whole number (PLACE). Write e.g. num_epochs: 30"),
        ("num_epochs", "1e400", "'1e400' is not a whole number (PLACE). Write e.g. num_epochs: 30"),
        ("on_broken", "ignore", "'ignore' is not a choice (PLACE). Choose one of raise, skip."),
        ("freeze", 3, "3 is not a text (PLACE). Write e.g. freeze: [conv1, 'layer[12]']"),
        (
            "small_input",
            "maybe",
            "'maybe' is neither true nor false (PLACE). Write e.g. small_input: true",
        ),
        (
            "net_args",
            {"num_classes": 3},
            "{'num_classes': 3} has num_classes, which the program gives itself (PLACE). "
            "Write e.g. net_args: {dropout: 0.2}",
        ),
        (
            "scheduler_args",
            ["lr_min"],
            "['lr_min'] is not a mapping of arguments (PLACE). "
            "Write e.g. scheduler_args: {lr_min: 0.001}",
        ),
        ("batch_size", [8], "[8] is not a whole number (PLACE). Write e.g. batch_size: 32"),
        ("lr", "fast", "'fast' is not a number (PLACE). Write e.g. lr: 0.01"),
        ("lr", 0, "0 is not more than 0 (PLACE). Write e.g. lr: 0.01"),
        ("lr", float("nan"), "nan is not a number (PLACE). Write e.g. lr: 0.01"),
        ("lr", "inf", "'inf' is not a number (PLACE). Write e.g. lr: 0.01"),
        ("momentum", 1, "1 is not less than 1 (PLACE). Write e.g. momentum: 0.9"),
        ("weight_decay", -1, "-1 is less than 0 (PLACE). Write e.g. weight_decay: 0.0005"),
        ("milestones", 20, "20 is not a list of epochs (PLACE). Write e.g. milestones: [20]"),
        ("milestones", "x", "'x' is not a list of epochs (PLACE). Write e.g. milestones: [20, 35]"),
        ("milestones", {}, "{} is not a list of epochs (PLACE). Write e.g. milestones: [20, 35]"),
        ("milestones", [-1], "-1 is less than 0 (PLACE). Write e.g. milestones: [20, 35]"),
        ("gpu_id", [], "[] names no device (PLACE). Write e.g. gpu_id: [0]"),
        ("gpu_id", [0, 1, 0], "[0, 1, 0] names a device twice (PLACE). Write e.g. gpu_id: [0, 1]"),
        ("gpu_id", -1, "-1 is less than 0 (PLACE). Write e.g. gpu_id: [0]"),
        ("gpu_id", True, "True is not a whole number (PLACE). Write e.g. gpu_id: [0]"),
        ("gpu_id", "cuda", "'cuda' is not a whole number (PLACE). Write e.g. gpu_id: [0]"),
        (
            *("input_size", [3, 224, 224]),
            "[3, 224, 224] is not a width and a height (PLACE). Write e.g. input_size: [224, 224]",
        ),
        ("rgb_std", [0], "0 is not more than 0 (PLACE). Write e.g. rgb_std: [0.5, 0.5, 0.5]"),
        (
            "progress",
            "maybe",
            "'maybe' is neither true nor false (PLACE). Write e.g. progress: true",
        ),
        ("progress", 2, "2 is neither true nor false (PLACE). Write e.g. progress: true"),
        ("net_type", 18, "18 is not a text (PLACE). Write e.g. net_type: mobilenet_v2"),
        ("train_data", [1], "1 is not a text (PLACE). Write e.g. train_data: data/train"),
        ("train_data", {"x": 1}, "1 is not a text (PLACE). Write e.g. train_data: data/train"),
        ("loss_type", 1, "1 is not a text (PLACE). Write e.g. loss_type: CELoss"),
    ],
)
def test_bad_values_name_key_value_place_and_mend(name, value, message):
    with pytest.raises(ConfigError) as caught:
        check_key(name, value, ORIGIN)
    assert str(caught.value) == f"{name}: {message.replace('PLACE', ORIGIN)}"


def test_an_unknown_origin_is_left_out_and_a_long_value_cut():
    with pytest.raises(ConfigError, match=r"^lr: 'x' is not a number\. Write e\.g\. lr: 0\.01$"):
        check_key("lr", "x")
    with pytest.raises(ConfigError) as caught:
        check_key("lr", "x" * 1000)
    assert len(str(caught.value)) < 150


def test_every_key_has_a_meaning_and_accepts_none():
    for name, declared in all_keys().items():
        assert declared.name == name
        assert declared.check.kind
        assert declared.meaning.endswith(".")
        assert check_key(name, None) in (None, {})
    assert {"seed", "resume", "early_stop", "model_root", "sparsity"} <= all_keys().keys()


def test_every_example_and_every_default_passes_its_own_check():
    for name, declared in all_keys().items():
        if declared.example is not None:
            check_key(name, yaml.safe_load(declared.example))
        if declared.default not in (None, ()):
            value = check_key(name, declared.default)
            assert (tuple(value) if isinstance(value, list) else value) == declared.default


def test_all_keys_are_checked_in_place():
    cfg = {"lr": "0.1", "gpu_id": 0, "milestones": None, "mine": "x"}
    check_keys(cfg, {})
    assert cfg == {"lr": 0.1, "gpu_id": [0], "milestones": None, "mine": "x"}
    cfg["lr"] = "x"
    with pytest.raises(ConfigError, match=r"\(command line\)"):
        check_keys(cfg, {"lr": "command line"})


def test_helpers_say_what_would_be_good_without_an_example():
    for call, message in (
        (lambda: as_int("seed", "x", minimum=0), "Write e.g. seed: 1"),
        (lambda: as_int("test_every", 0, minimum=1), "is less than 1. Write e.g. test_every: 1"),
        (lambda: as_int("port", 9, maximum=8), "is more than 8. Write e.g. port: 8"),
        (lambda: as_float("clip", -1, above=0.0), "is not more than 0.0. Write e.g. clip: 1.0"),
        (lambda: as_float("decay", 2, below=1.0), "is not less than 1.0. Write e.g. decay: 0.0"),
        (lambda: as_float("clip", None), "None is not a number. Write e.g. clip: 1.0"),
        (lambda: as_bool("compile", "x"), "Write e.g. compile: true"),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert message in str(caught.value)


def test_a_choice_is_found_in_any_case_and_the_nearest_suggested():
    assert as_choice("amp", "BF16", "", ("bf16", "fp16")) == "bf16"
    with pytest.raises(ConfigError, match=r"Did you mean 'bf16'\? Choose one of bf16, fp16\."):
        as_choice("amp", "bf61", ORIGIN, ("bf16", "fp16"))
    with pytest.raises(ConfigError, match=r"True is not a choice\. Choose one of bf16, fp16\."):
        as_choice("amp", True, "", ("bf16", "fp16"))


@given(value=st.integers(-(2**53), 2**53))
def test_a_whole_number_is_the_same_in_any_writing(value):
    assert as_int("n", value) == as_int("n", str(value)) == as_int("n", float(value)) == value


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("num_epoch", "num_epochs"),
        ("num_epcohs", "num_epochs"),
        ("numepochs", "num_epochs"),
        ("Num_Epochs", "num_epochs"),
        ("num-epochs", "num_epochs"),
        ("LR", "lr"),
        ("batchsize", "batch_size"),
        ("bach_szie", "batch_size"),
        ("gpu_ids", "gpu_id"),
        ("gup_id", "gpu_id"),
        ("work_dri", "work_dir"),
        ("num_class", "num_classes"),
        ("milstone", "milestones"),
        ("schduler", "scheduler"),
        ("momentun", "momentum"),
        ("sede", "seed"),
        ("weigth_decay", "weight_decay"),
        ("rgb_men", "rgb_mean"),
        ("learly_stop", "early_stop"),
    ],
)
def test_a_slip_is_told(slip, meant):
    assert nearest_key(slip, all_keys()) == meant


@pytest.mark.parametrize(
    "word",
    [
        *("mode", "model", "map", "lr0", "lr2", "l2", "name", "data", "test", "train", "size"),
        *("model_file", "class_file", "train_path", "val_data", "image_size", "test_data2"),
        *("device", "topk", "loss", "max_workers", "train_num", "test_num", "root", "tag", "beta"),
        *("learning_rate", "best_save", "anchors", "polyaxon", "dist_url", "alpha", "gamma"),
    ],
)
def test_another_word_is_no_slip(word):
    assert nearest_key(word, all_keys()) is None


def test_short_words_that_are_both_words_are_not_taken_for_slips():
    assert nearest_key("mode", {"model"}) is None
    assert nearest_key("models", {"modes"}) == "modes"  # long enough for one letter


def test_a_misspelt_key_gets_one_line_that_names_its_place(caplog):
    names: list[Any] = ["num_epoch", "lr", "mine", "flagg", 3]
    warn_of_misspellings(names, {"num_epoch": ORIGIN}, given=["flag"])
    assert caplog.messages == [
        f"num_epoch ({ORIGIN}): this key is not known. Did you mean num_epochs? "
        f"If it is your own, all is well."
    ]
