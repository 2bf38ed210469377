"""The log: its forms, and its level, which changes while relayd runs."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import urllib.request

import pytest

from relayd.logs import JsonLines
from tests.control.conftest import Daemon


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path, "--workers", "1", "--log-format", "json")
    yield daemon
    assert daemon.end() == 0
    assert "Traceback" not in daemon.log.read_text()


def lines(daemon):
    return [json.loads(line) for line in daemon.log.read_text().splitlines()]


def test_every_line_is_an_object(daemon):
    """Of the daemon and of its workers; what an admin did has its parts by name."""
    daemon.ctl("loglevel", "debug")
    daemon.ctl("create", "room")
    _ask_health(daemon)
    daemon.wait_for_log("relayd.http")
    logged = lines(daemon)
    assert len({line["process"] for line in logged}) == 2
    for line in logged:
        assert list(line)[:5] == ["at", "level", "logger", "process", "message"]
    made = next(line["fields"] for line in logged if line["logger"] == "relayd.audit" and "create" in line["message"])
    assert (made["verb"], made["result"], made["uid"]) == ("create_room", "ok", os.getuid())
    assert len(made["room"]) == 36


def test_level_changes_in_every_process(daemon):
    """Without a restart, for lines to come, and a reload takes the file's again."""
    assert daemon.ctl("loglevel").stdout == "info\n"
    assert daemon.ctl("loglevel", "info").stdout == "log_level is info already.\n"
    _ask_health(daemon)
    assert daemon.ctl("loglevel", "debug").stdout == "log_level: info -> debug\n"
    assert daemon.json("loglevel") == {"log_level": "debug"}
    _wait_until(lambda: _ask_health(daemon) or _of_workers(daemon))
    assert daemon.ctl("reload").stdout == "log_level: debug -> info\n"
    # The worker hears of it over the bus, a moment later; the audit's lines go on at any level.
    _wait_until(lambda: not _new_lines_of_workers(daemon))


def test_level_of_no_kind(daemon):
    """A word that is no level is wrong usage, and names those that are."""
    line = daemon.wrong("loglevel", "loud", code=2)
    assert "debug" in line
    assert "warning" in line


def test_form_changes_with_a_reload(tmp_path):
    """From text to JSON and back."""
    daemon = Daemon(tmp_path)
    try:
        daemon.config.write_text('log_format = "json"\n')
        daemon.ctl("reload")
        daemon.wait_for_log('"message":"log_format: changed"')
        daemon.config.write_text("")
        daemon.ctl("reload")
        daemon.wait_for_log("INFO relayd log_format: changed")
    finally:
        assert daemon.end() == 0


def test_a_failure_is_one_line():
    """Whatever is in it: a traceback has many lines, a message may have."""
    try:
        int("first\nsecond")
    except ValueError:
        record = logging.LogRecord("relayd", logging.ERROR, "", 0, "it %s\n", ("failed",), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "it failed\n"
    assert line["exception"].startswith("Traceback")


def _ask_health(daemon):
    with urllib.request.urlopen(f"{daemon.base}/healthz", timeout=30) as answer:
        assert answer.status == 200


def _of_workers(daemon):
    return [line for line in lines(daemon) if line["logger"] == "relayd.http"]


def _new_lines_of_workers(daemon):
    before = len(_of_workers(daemon))
    _ask_health(daemon)
    time.sleep(0.2)
    return len(_of_workers(daemon)) - before


def _wait_until(holds):
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
