"""Settings: defaults < YAML < flags typed on the command line, and where each comes from."""

from __future__ import annotations

import argparse
import copy
import json
import logging
import pickle
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from easydict import EasyDict
from hypothesis import given, settings
from hypothesis import strategies as st

from basetrainer.errors import ConfigError
from basetrainer.utils.setup_config import (
    Config,
    create_workspace,
    dict2easy,
    easy2dict,
    get,
    load_config,
    origin_of,
    parser_config,
    parser_config_file,
    parser_config_name,
    parser_work_space,
    print_dict,
    save_config,
    update_dict,
)


def old_parser() -> argparse.ArgumentParser:
    """The arguments of a program of 2021."""
    parser = argparse.ArgumentParser(prog="train.py")
    parser.add_argument("-c", "--config_file", default=None, type=str)
    parser.add_argument("--num_epochs", default=50, type=int)
    parser.add_argument("--lr", default=0.1, type=float)
    parser.add_argument("--gpu_id", nargs="+", default=[0], type=int)
    parser.add_argument("--milestones", nargs="+", default=[10, 20], type=int)
    parser.add_argument("--scheduler", default="multi-step", type=str)
    parser.add_argument("--progress", action="store_true", default=True)
    parser.add_argument("--distributed", action="store_true", default=False)
    return parser


def configure(
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    text: str | None = None,
    *,
    parser: argparse.ArgumentParser | None = None,
    exact: bool = False,
    cfg_updata: bool = True,
) -> Config:
    """Run ``train.py flags``, with a YAML file of that text if there is one."""
    if text is not None:
        Path("config.yaml").write_text(text)
        flags = f"-c config.yaml {flags}"
    parser = parser or old_parser()
    monkeypatch.setattr(sys, "argv", ["train.py", *flags.split()])
    return parser_config(parser if exact else parser.parse_args(), cfg_updata)


both = pytest.mark.parametrize("exact", [False, True], ids=["namespace", "parser"])


@both
def test_a_typed_flag_goes_before_the_file_and_the_file_before_a_default(
    monkeypatch, caplog, exact
):
    caplog.set_level(logging.INFO)
    cfg = configure(monkeypatch, "--num_epochs 7", "num_epochs: 2\nlr: 1e-3\n", exact=exact)
    assert (cfg.num_epochs, cfg.lr, cfg.scheduler) == (7, 1e-3, "multi-step")
    assert caplog.messages == ["num_epochs: 7 (command line) overrides 2 (config.yaml, line 1)."]
    assert origin_of(cfg, "num_epochs") == "command line"
    assert origin_of(cfg, "lr") == "config.yaml, line 2"
    assert origin_of(cfg, "scheduler") == "default"
    assert origin_of(cfg, "absent") == origin_of({"lr": 1}, "lr") == ""
    assert cfg.config_file == "config.yaml"


@both
@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        ("--num_epochs=7", "num_epochs", 7),
        ("--num_e 7", "num_epochs", 7),
        ("--lr 1e-1", "lr", 0.1),
        ("--gpu_id 0 1", "gpu_id", [0, 1]),
        ("--milestones 5", "milestones", [5]),
        ("--progress", "progress", True),
        ("--distributed --lr 0.5", "distributed", True),
        ("--scheduler cosine", "scheduler", "cosine"),
        ("--num_epochs 6 --num_epochs 7", "num_epochs", 7),
    ],
)
def test_flags_count_as_typed_in_every_writing(monkeypatch, exact, flags, key, value):
    text = "num_epochs: 2\nlr: 3\ngpu_id: [5]\nmilestones: [1]\nscheduler: exp\n"
    text += "progress: false\ndistributed: false\n"
    cfg = configure(monkeypatch, flags, text, exact=exact)
    assert cfg[key] == value
    assert origin_of(cfg, key) == "command line"


@both
def test_a_flag_typed_with_the_value_of_the_default_counts(monkeypatch, exact):
    cfg = configure(monkeypatch, "--num_epochs 50", "num_epochs: 2", exact=exact)
    assert cfg.num_epochs == 50


@both
def test_without_cfg_updata_arguments_hold_defaults_included(monkeypatch, exact):
    text = "num_epochs: 2\nlr: 3\nmine: 4\n"
    cfg = configure(monkeypatch, "--num_epochs 7", text, exact=exact, cfg_updata=False)
    assert (cfg.num_epochs, cfg.lr, cfg.mine) == (7, 0.1, 4)
    assert origin_of(cfg, "lr") == "default"
    assert origin_of(cfg, "mine") == "config.yaml, line 3"


def test_words_that_do_not_read_as_the_value_held_are_a_default(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    Path("config.yaml").write_text("num_epochs: 2\nname: b\nname_too: b\n")
    flags = "--num_epochs 9 --count x --name -x 5 --unknown 3 -- --name a"
    monkeypatch.setattr(sys, "argv", ["notebook", *flags.split()])
    args = Namespace(config_file="config.yaml", num_epochs=50, name="a", name_too="a", count=1)
    cfg = parser_config(args)
    assert (cfg.num_epochs, cfg.name, cfg.count) == (2, "b", 1)
    for flag in ("--num_epochs", "--name", "--count", "--unknown"):
        assert any(message.startswith(f"{flag} is not known") for message in caplog.messages)


def test_lists_switches_and_paths_read_as_what_a_program_makes_of_them(monkeypatch):
    Path("config.yaml").write_text("a: 0\nb: 0\nc: 0\nd: 0\ne: 0\nf: 0\n")
    flags = "--a 1,2 --b x --b y --c false --d out --e a_file --f -1.5"
    monkeypatch.setattr(sys, "argv", ["train.py", *flags.split()])
    values = {"a": [1, 2], "b": ["x", "y"], "c": False, "d": Path("out"), "e": True, "f": -1.5}
    cfg = parser_config(Namespace(config_file="config.yaml", **values))
    assert {key: cfg[key] for key in values} == values
    assert {origin_of(cfg, key) for key in values} == {"command line"}


def test_the_arguments_and_the_parser_are_not_changed(monkeypatch):
    Path("config.yaml").write_text("num_epochs: 2\nnet: {depth: 3}\n")
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "config.yaml"])
    args = Namespace(config_file="config.yaml", num_epochs=50, net={"depth": 1, "width": 2})
    before = copy.deepcopy(vars(args))
    cfg = parser_config(args)
    assert cfg.net == {"depth": 3, "width": 2}
    assert vars(args) == before
    parser = old_parser()
    parser_config(parser)
    assert parser.parse_args([]) == old_parser().parse_args([])


def test_texts_of_the_file_go_through_the_types_of_a_parser(monkeypatch):
    parser = old_parser()
    parser.add_argument("--betas", nargs="+", type=float)
    parser.add_argument("--mode", type=str.lower, choices=["fast", "slow"])
    parser.add_argument("--shown", type=bool, default=True)
    parser.add_argument("--options", type=json.loads, default={})
    text = (
        "betas: ['0.9', 0.99]\nmode: FAST\nshown: 'false'\ngpu_id: '0,1'\noptions: '{\"a\": 1}'\n"
    )
    cfg = configure(monkeypatch, "", text, parser=parser, exact=True)
    assert (cfg.betas, cfg.mode, cfg.shown, cfg.gpu_id) == ([0.9, 0.99], "fast", False, [0, 1])
    assert cfg.options.a == 1


def test_append_count_and_positional_arguments_keep_their_meaning(monkeypatch):
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="first")
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--config_file", default="config.yaml")
    parser.add_argument("--tag", action="append", default=["a"])
    parser.add_argument("-v", dest="verbose", action="count", default=0)
    parser.add_argument("--bar", action=argparse.BooleanOptionalAction, default=True)
    Path("config.yaml").write_text("name: file\nrest: [1]\ntag: [z]\nverbose: 9\nbar: true\n")
    monkeypatch.setattr(sys, "argv", ["train.py", "--tag", "b", "-vv", "--no-bar"])
    cfg = parser_config(parser)
    assert (cfg.tag, cfg.verbose, cfg.bar) == (["a", "b"], 2, False)
    assert (cfg.name, cfg.rest) == ("file", [1])
    monkeypatch.setattr(sys, "argv", ["train.py", "second", "third"])
    assert parser_config(parser).name == "second"


def test_the_flags_of_a_sub_command_are_known_too(monkeypatch):
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", default="config.yaml")
    train = parser.add_subparsers(dest="command").add_parser("train")
    train.add_argument("--lr", type=float, default=0.1)
    train.add_argument("--num_epochs", type=int, default=50)
    train.set_defaults(job="train")
    Path("config.yaml").write_text("lr: 3\nnum_epochs: 2\njob: other\n")
    monkeypatch.setattr(sys, "argv", ["main.py", "train", "--lr", "0.1"])
    cfg = parser_config(parser)
    assert (cfg.lr, cfg.num_epochs, cfg.job, cfg.command) == (0.1, 2, "other", "train")
    assert train.get_default("job") == "train"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml is empty. Write a setting in it, e.g. num_epochs: 30"),
        ("lr: [1\n", "Close the bracket"),
        ("num_epochs: three", "num_epochs: 'three' is not a whole number (config.yaml, line 1)."),
        ("milestones: 20", "milestones: 20 is not a list of epochs (config.yaml, line 1). Write"),
        ("lr: -1", "lr: -1 is not more than 0 (config.yaml, line 1). Write e.g. lr: 0.01"),
        ("gpu_id: []", "gpu_id: [] names no device (config.yaml, line 1)."),
        ("mode: fats", "mode: 'fats' is not a choice (config.yaml, line 1). Did you mean 'fast'?"),
        ("mode: FAST", "mode: 'FAST' is not a choice (config.yaml, line 1). Did you mean 'fast'?"),
        ("stall_limit: -1", "stall_limit: -1 is not more than 0 (config.yaml, line 1). Write e.g."),
        ("sparsity: 2", "sparsity: 2 is not less than 1 (config.yaml, line 1). Write e.g."),
        ("\nsteps: many", "steps: 'many' is not a good int (config.yaml, line 2). Write what"),
    ],
)
def test_a_parser_ends_with_code_2_and_one_message(monkeypatch, capsys, text, message):
    parser = old_parser()
    parser.add_argument("--mode", choices=["fast", "slow"])
    parser.add_argument("--steps", type=int)
    with pytest.raises(SystemExit) as caught:
        configure(monkeypatch, "", text, parser=parser, exact=True)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("train.py: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_missing_file_ends_a_parser_and_is_raised_for_a_namespace(monkeypatch, capsys):
    Path("config.yaml").touch()
    with pytest.raises(SystemExit, match="2"):
        configure(monkeypatch, "-c confg.yaml", exact=True)
    assert "no file confg.yaml. Did you mean config.yaml?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"Did you mean config\.yaml\?"):
        configure(monkeypatch, "-c confg.yaml")


@both
def test_numbers_are_meant_and_misspelt_keys_told(monkeypatch, caplog, exact):
    text = "lr: 1e-3\ngpu_id: 0\nbatch_size: '32'\nnum_epoch: 3\nmine: 1\nsheduler: x\n"
    cfg = configure(monkeypatch, "", text, exact=exact)
    assert (cfg.lr, cfg.gpu_id, cfg.batch_size, cfg.mine) == (1e-3, [0], 32, 1)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "num_epoch (config.yaml, line 4)",
        "sheduler (config.yaml, line 6)",
    ]


@both
def test_without_a_file_the_arguments_are_kept_in_the_current_folder(monkeypatch, exact):
    cfg = configure(monkeypatch, "--lr 3", exact=exact)
    assert cfg.config_file == "args_config.yaml"
    assert load_config("args_config.yaml")["lr"] == 3.0
    assert (origin_of(cfg, "lr"), origin_of(cfg, "num_epochs")) == ("command line", "default")
    with pytest.raises((ConfigError, SystemExit)):
        configure(monkeypatch, "--lr 0", exact=exact)


def test_a_current_folder_that_cannot_be_written_is_only_a_warning(monkeypatch, caplog):
    Path("args_config.yaml").mkdir()
    assert configure(monkeypatch, "").config_file is None
    (message,) = caplog.messages
    assert message.startswith("args_config.yaml: the arguments are not kept")


def test_every_value_is_said_with_its_origin_at_debug(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    configure(monkeypatch, "", "lr: 3")
    assert "lr: 3.0  (config.yaml, line 1)" in caplog.messages
    assert "num_epochs: 50  (default)" in caplog.messages


@settings(max_examples=40)
@given(
    default=st.integers(1, 5),
    file=st.none() | st.integers(1, 5),
    typed=st.none() | st.integers(1, 5),
    exact=st.booleans(),
)
def test_precedence_is_one_rule(tmp_path_factory, default, file, typed, exact):
    path = tmp_path_factory.getbasetemp() / "precedence.yaml"
    path.write_text("mine: 1\n" + (f"num_epochs: {file}\n" if file else ""))
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", default=str(path))
    parser.add_argument("--num_epochs", type=int, default=default)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x", *([f"--num_epochs={typed}"] if typed else [])])
        for cfg_updata in (True, False):
            cfg = parser_config(parser if exact else parser.parse_args(), cfg_updata)
            assert cfg.num_epochs == (typed or (cfg_updata and file) or default)


def made(**values: object) -> Config:
    """A config whose every value has the origin "default"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x"])
        return parser_config(Namespace(**values))


def test_a_config_is_an_easydict_whose_origins_are_no_items():
    cfg = made(lr=0.1, net={"depth": 1}, heads=[{"a": 1}])
    assert isinstance(cfg, EasyDict)
    assert type(cfg.net) is EasyDict
    assert cfg.net.depth == cfg.heads[0].a == 1
    assert set(cfg) == set(cfg.__dict__) == {"lr", "net", "heads", "config_file"}
    assert "default" not in repr(cfg) + str(dict(cfg))
    save_config(cfg, "saved.yaml")
    assert load_config("saved.yaml") == dict(cfg)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda cfg: pickle.loads(pickle.dumps(cfg))]
)
def test_origins_survive_copies_and_pickles(duplicate):
    cfg = made(lr=0.1, net={"depth": 1})
    cfg.mine = [1]
    other = duplicate(cfg)
    assert type(other) is Config
    assert other == cfg
    assert other.net.depth == other["net"]["depth"] == 1
    assert (origin_of(other, "lr"), origin_of(other, "mine")) == ("default", "")
    other.lr = 0.2
    assert (cfg.lr, origin_of(cfg, "lr")) == (0.1, "default")


def test_a_value_that_the_program_sets_has_no_origin():
    cfg = made(lr=0.1, num_epochs=3)
    cfg.lr = 0.2
    cfg["num_epochs"] = 4
    assert origin_of(cfg, "lr") == origin_of(cfg, "num_epochs") == ""
    assert (cfg["lr"], cfg.num_epochs) == (0.2, 4)


def test_get_reads_any_kind_of_config():
    class Settings:
        lr = 0.1

    for cfg in (EasyDict(lr=0.1), {"lr": 0.1}, Namespace(lr=0.1), Settings(), Settings):
        assert get(cfg, "lr") == 0.1
        assert get(cfg, "absent") is None
        assert get(cfg, "absent", 3) == 3
    assert get({}, "items") is None


def test_dicts_merge_key_by_key_and_stay_as_they_were():
    one, two = {"a": {"x": 1, "y": {"z": 1}}, "b": 1}, {"a": {"y": {"w": 2}}, "b": {"c": 3}}
    before = copy.deepcopy((one, two))
    assert update_dict(one, two) == {"a": {"x": 1, "y": {"z": 1, "w": 2}}, "b": {"c": 3}}
    assert update_dict(two, one)["b"] == 1
    assert update_dict({"a": {"x": 1}}, {"a": None}) == {"a": None}
    assert (one, two) == before


def test_easydict_and_dict_turn_into_each_other():
    plain = {"a": {"b": [{"c": 1}, (2,)]}}
    easy = dict2easy(plain)
    assert easy.a.b[0].c == 1
    back = easy2dict(easy)
    assert back == plain
    assert type(back["a"]) is type(back["a"]["b"][0]) is dict


@pytest.mark.parametrize(("cfg_updata", "lr"), [(True, 0.1), (False, 3)])
def test_a_config_merges_with_a_file(cfg_updata, lr):
    Path("config.yaml").write_text("lr: 3\nnet: {width: 2}\nnum_epoch: 1\n")
    cfg = parser_config_file(EasyDict(lr=0.1, net={"depth": 1}), "config.yaml", cfg_updata)
    assert cfg == {"lr": lr, "net": {"depth": 1, "width": 2}, "num_epoch": 1}
    assert origin_of(cfg, "num_epoch") == "config.yaml, line 3"
    assert origin_of(cfg, "lr") == ("" if cfg_updata else "config.yaml, line 1")


def test_load_config_gives_a_dict_or_an_easydict():
    Path("config.yaml").write_text("net: {depth: 1}\n")
    assert type(load_config()) is dict
    assert load_config("config.yaml", easy=True).net.depth == 1


@pytest.mark.parametrize("kind", [dict, EasyDict, lambda **values: Namespace(**values)])
def test_any_config_can_be_saved(kind):
    assert save_config(kind(lr=0.1, net=EasyDict(size=(1, 2))), "out.yaml") == "out.yaml"
    assert load_config("out.yaml") == {"lr": 0.1, "net": {"size": [1, 2]}}


def test_a_class_of_settings_can_be_saved():
    class Settings:
        lr = 0.1

        def method(self):
            """Not a setting."""

    save_config(Settings(), "out.yaml")
    assert load_config("out.yaml") == {"lr": 0.1}


@pytest.mark.parametrize(
    ("config", "key", "join", "name"),
    [
        ({"a": 1, "b": 2}, "", "_", "a_b"),
        ({"loss": {"a": 1, "b": 2}}, "loss", "-", "a-b"),
        ({"loss": ["a", "", None, 2]}, "loss", "_", "a_2"),
        ({"loss": "a"}, "loss", "", ["a"]),
        ("text", "", "_", "text"),
    ],
)
def test_names_in_a_config_become_one_text(config, key, join, name):
    assert parser_config_name(config, key, join) == name


def test_print_dict_logs_and_saves_lines(caplog):
    caplog.set_level(logging.INFO)
    print_dict({"lr": 0.1, "name": "\u4e2d"}, "out.txt")
    assert caplog.messages == ["lr: 0.1", "name: \u4e2d"]
    assert Path("out.txt").read_text(encoding="utf-8") == "lr: 0.1\nname: \u4e2d\n"


def test_the_name_of_a_workspace():
    stamp = "20260102_030405_6789"  # conftest sets the start of the job
    flags = ["resnet", 1.0, "", None]
    assert parser_work_space("out", flags) == f"out/resnet_1.0_{stamp}"
    assert parser_work_space("out", flags, time=False) == "out/resnet_1.0"
    assert parser_work_space({"work_dir": "out"}, "one", time=False) == "out/one"
    assert parser_work_space({}) == f"work_space/{stamp}"
    assert flags == ["resnet", 1.0, "", None]


@pytest.mark.parametrize("kind", [dict, EasyDict, lambda **values: Namespace(**values), made])
def test_a_workspace_is_made_once(kind):
    Path("mine.yaml").write_text("lr: 1\n")
    cfg, flags = kind(work_dir="out", lr=1.0), ["a"]
    if kind is not dict:
        cfg.config_file = "mine.yaml"
    assert create_workspace(cfg, flags) is cfg
    folder = Path("out/a_20260102_030405_6789")
    assert get(cfg, "work_dir") == str(folder)
    assert get(cfg, "model_dir") == str(folder / "model")
    assert get(cfg, "log_dir") == str(folder / "log")
    assert (folder / "model").is_dir()
    assert (folder / "log").is_dir()
    assert load_config(folder / "setup_config.yaml")["work_dir"] == str(folder)
    assert (folder / "mine.yaml").exists() == (kind is not dict)
    create_workspace(cfg, flags)
    assert get(cfg, "work_dir") == str(folder)
    assert flags == ["a"]


def test_a_run_from_the_settings_of_an_earlier_one_has_a_folder_of_its_own(monkeypatch):
    earlier = create_workspace(EasyDict(work_dir="out"))
    monkeypatch.setattr(sys, "argv", ["x"])
    cfg = parser_config(Namespace(config_file=f"{earlier.work_dir}/setup_config.yaml"))
    create_workspace(cfg)
    assert cfg.work_dir != earlier.work_dir


def test_only_the_main_process_makes_folders():
    cfg = create_workspace(EasyDict(work_dir="out"), is_main_process=False)
    assert cfg.work_dir.startswith("out/")
    assert not Path("out").exists()
    create_workspace(cfg, backup=False)
    assert sorted(path.name for path in Path(cfg.work_dir).iterdir()) == ["log", "model"]


def test_an_unwritable_workspace_names_path_reason_and_mend(monkeypatch):
    Path("file").touch()
    with pytest.raises(ConfigError, match=r"'file/.*Not a directory. Choose another folder"):
        create_workspace(EasyDict(work_dir="file"))
    cfg = create_workspace(EasyDict(work_dir="out"), backup=False)
    Path(cfg.work_dir, "setup_config.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"settings cannot be kept in .*Is a directory"):
        create_workspace(cfg)
