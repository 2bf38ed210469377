"""`relayctl create key`, and what it is for."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.control.conftest import Daemon, run_ctl


def ask(daemon, key=""):
    """The status of a request for a room."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{daemon.base}/api/v1/room", b"", headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_it_needs_no_daemon(tmp_path):
    """A key and its digest; the key is another each time."""
    made = run_ctl("--socket", tmp_path / "nowhere", "create", "key")
    assert re.fullmatch(r"Key     rc_[\w-]{43}\nDigest  [0-9a-f]{64}\n", made.stdout)
    keys = [json.loads(run_ctl("-o", "json", "create", "key").stdout)["key"] for _ in range(2)]
    assert keys[0] != keys[1]


def test_a_key_holds_from_the_next_reload(tmp_path):
    """Given, and taken back; admins create rooms whatever the settings say."""
    daemon = Daemon(tmp_path, "--workers", "1")
    try:
        made = daemon.json("create", "key")
        assert ask(daemon) == 201
        keys = '[rooms]\ncreate = "key"\ncreate_keys = ["%s"]\n'
        for settings, without, with_key in (
            (keys % made["digest"], 401, 201),
            (keys % ("0" * 64), 401, 403),
            ('[rooms]\ncreate = "nobody"\n', 403, 403),
            ("", 201, 201),
        ):
            daemon.config.write_text(settings)
            daemon.ctl("reload")
            seen = [daemon.json("create", "room")["id"]]
            wait_for(lambda wanted=(without, with_key): (ask(daemon), ask(daemon, made["key"])) == wanted)
            assert len(seen[0]) == 36
        shown = daemon.ctl("config", "show").stdout
        assert made["key"] not in shown + daemon.log.read_text()
    finally:
        assert daemon.end() == 0


def wait_for(holds):
    """The worker hears of new settings over the bus, a moment later."""
    for _ in range(100):
        if holds():
            return
    pytest.fail("the settings do not hold")
