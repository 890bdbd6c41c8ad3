"""Logging for applications: form of a line, console, file, what came before."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
from tqdm import tqdm

from basetrainer.errors import ConfigError
from basetrainer.utils import log
from basetrainer.utils.log import early_lines, get_logger, set_logger


@pytest.fixture(autouse=True)
def loggers_as_they_were():
    """Undo what the tests do to loggers: the package's would be lost to caplog."""
    loggers = [get_logger(), get_logger("test_log")]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    yield
    log._held.clear()
    for one, handlers, level, propagate in before:
        for handler in one.handlers[:]:
            if handler not in handlers:
                one.removeHandler(handler)
                handler.close()
        one.setLevel(level)
        one.propagate = propagate


def test_a_line_has_the_form_that_readers_of_logs_know(capsys):
    set_logger().info("hello %d", 3)
    captured = capsys.readouterr()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\|INFO   \| hello 3\n", captured.err)
    assert captured.out == ""


def test_the_lines_of_the_library_show_as_well(capsys):
    set_logger(level="info")
    logging.getLogger("basetrainer.engine").info("library")
    logging.getLogger("basetrainer.engine").debug("detail")
    assert "library" in capsys.readouterr().err


def test_the_file_is_appended_to_and_its_folder_made(tmp_path, capsys):
    path = tmp_path / "log" / "train.log"
    for text in ("first", "\u4e2d"):
        set_logger(logfile=path).info(text)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.split("| ")[1] for line in lines] == ["first", "\u4e2d"]
    assert len(capsys.readouterr().err.splitlines()) == 2  # the first handlers were replaced


def test_handlers_of_others_and_the_root_logger_are_left_alone():
    other, root = logging.StreamHandler(io.StringIO()), logging.getLogger().handlers[:]
    logger = logging.getLogger("test_log")
    logger.addHandler(other)
    assert set_logger("test_log") is get_logger("test_log") is logger
    set_logger("test_log")
    assert other in logger.handlers
    assert len(logger.handlers) == 2
    assert logger.propagate is False
    assert logging.getLogger().handlers == root


def test_other_processes_only_warn_and_write_no_file(tmp_path, capsys):
    logger = set_logger(logfile=tmp_path / "train.log", is_main_process=False, rotation=1)
    logger.info("quiet")
    logger.warning("loud")
    assert capsys.readouterr().err.endswith("|WARNING| loud\n")
    assert list(tmp_path.iterdir()) == []


def test_a_record_for_the_file_only_is_not_shown(tmp_path, capsys):
    logger = set_logger(logfile=tmp_path / "train.log")
    logger.info("many figures", extra={"file_only": True})
    assert capsys.readouterr().err == ""
    assert "many figures" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize(("level", "number"), [("INFO", 20), ("Warn", 30), (15, 15), ("25", 25)])
def test_a_level_is_a_name_in_any_case_or_a_number(level, number):
    assert set_logger("test_log", level=level).level == number


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("degub", r"no level 'degub'. Did you mean 'debug'\? Choose one of debug, info"),
        ("zz", r"no level 'zz'. Choose one of debug"),
        (True, "no level True"),
    ],
)
def test_an_unknown_level_is_named_with_the_nearest(level, message):
    with pytest.raises(ConfigError, match=message):
        set_logger("test_log", level=level)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot write to '.*': Is a directory"):
        set_logger("test_log", logfile=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"/file': a file has that name\."):
        set_logger("test_log", logfile=tmp_path / "file" / "train.log")


def test_what_is_not_applied_is_said(capsys):
    set_logger(rotation="1 day", retention="3 days", format="detail")
    lines = capsys.readouterr().err
    assert lines.count("logs are kept whole") == 1
    assert "format='detail' is not applied" in lines


def test_lines_go_above_active_bars(monkeypatch, capsys):
    written = []
    monkeypatch.setattr(tqdm, "write", lambda line, file: written.append((line, file)))
    logger = set_logger()
    with tqdm(total=2, file=io.StringIO()):
        logger.info("during")
    logger.info("after")
    assert [(line.split("| ")[1], file) for line, file in written] == [("during", sys.stderr)]
    assert capsys.readouterr().err.endswith("| after\n")


def test_a_console_that_cannot_be_written_does_not_stop_the_program(monkeypatch):
    logger = set_logger()
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    logger.info("\u4e2d")
    monkeypatch.setattr(sys, "stderr", None)
    logger.info("nobody")


def test_what_is_said_before_the_setup_comes_first_in_the_log(tmp_path, capsys):
    package = get_logger()
    package.propagate = False  # caplog listens at the root
    with early_lines():
        logging.getLogger("basetrainer.utils").info("the config")
        logging.getLogger("basetrainer.utils").warning("a slip")
    assert capsys.readouterr().err == "warning: a slip\n"
    assert package.level == logging.NOTSET
    set_logger(level="info", logfile=tmp_path / "train.log").info("the run")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.split("| ")[1] for line in lines] == ["the config", "a slip", "the run"]
    assert "a slip" not in capsys.readouterr().err  # seen once
    set_logger(logfile=tmp_path / "other.log")
    assert (tmp_path / "other.log").read_text() == ""


def test_early_lines_are_not_kept_where_somebody_listens(capsys):
    set_logger()
    with early_lines():
        get_logger().info("heard")
    assert log._held == []
    assert capsys.readouterr().err.count("heard") == 1
