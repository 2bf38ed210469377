"""contrib/fail2ban finds the addresses in what relayd logs, by fail2ban itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from tests.control.conftest import Daemon
from tests.watch.conftest import ROOT

FILTER = ROOT / "contrib/fail2ban/filter.d/relayd.conf"
BAD, WORSE = "203.0.113.7", "2001:db8:1:2::7"


@pytest.fixture(scope="module")
def fail2ban_regex():
    found = shutil.which("fail2ban-regex")
    if found is None:
        pytest.skip("fail2ban is not installed")
    return found


def refuse(daemon, address):
    """A body that cannot be read."""
    request = urllib.request.Request(f"{daemon.base}/api/v1/room", data=b"{", headers={"X-Forwarded-For": address})
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=20)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_addresses_are_found(tmp_path, fail2ban_regex, log_format, workers):
    """Of IPv4 and IPv6, with the time, in both forms of the log; nothing else is taken for one."""
    (tmp_path / "relayd.toml").write_text(
        f'trusted_proxies = ["127.0.0.1"]\nlog_addresses = true\nlog_format = "{log_format}"\nlog_level = "debug"\n'
    )
    daemon = Daemon(tmp_path, "--workers", workers)
    try:
        for address in (BAD, WORSE):
            refuse(daemon, address)
            daemon.wait_for_log(f"refused=room reason=malformed address={address} count=1")
        request = urllib.request.Request(f"{daemon.base}/nothing", headers={"X-Forwarded-For": "192.0.2.1"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=20)
        daemon.wait_for_log("refused=request reason=not_found address=192.0.2.1 count=1")
    finally:
        assert daemon.end() == 0
    command = [fail2ban_regex, "--no-check-all", "-o", "row", daemon.log, FILTER]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    rows = found.stdout.splitlines()
    assert [next(one for one in (BAD, WORSE) if one in row) for row in rows] == [BAD, WORSE], found.stdout
    summary = subprocess.run([fail2ban_regex, daemon.log, FILTER], capture_output=True, text=True, check=True).stdout
    assert ", 2 matched, " in summary
    # Its clock is that of the lines: fail2ban looks back by their times.
    assert all(abs(float(row.split(",")[1]) - time.time()) < 24 * 3600 for row in rows), rows


def test_no_address_without_the_setting(tmp_path, fail2ban_regex):
    """By default nothing in the log leads to anybody."""
    (tmp_path / "relayd.toml").write_text('trusted_proxies = ["127.0.0.1"]\nlog_level = "debug"\n')
    daemon = Daemon(tmp_path)
    refuse(daemon, BAD)
    log = daemon.wait_for_log("refused=room reason=malformed from=a_")
    assert daemon.end() == 0
    assert BAD not in log
    summary = subprocess.run([fail2ban_regex, daemon.log, FILTER], capture_output=True, text=True, check=True).stdout
    assert ", 0 matched, " in summary


def test_debug_lines_of_requests(tmp_path):
    """With log_addresses they have the client's address, and in JSON as a part of its own."""
    (tmp_path / "relayd.toml").write_text(
        'trusted_proxies = ["127.0.0.1"]\nlog_addresses = true\nlog_format = "json"\nlog_level = "debug"\n'
    )
    daemon = Daemon(tmp_path)
    refuse(daemon, BAD)
    log = daemon.wait_for_log(f"ms address={BAD}")
    assert daemon.end() == 0
    line = next(json.loads(line) for line in log.splitlines() if "ms address=" in line)
    assert (line["fields"]["address"], line["fields"]["status"]) == (BAD, 400)


def test_the_jail_is_one(tmp_path, fail2ban_regex):
    """fail2ban reads the example as it stands."""
    del fail2ban_regex
    shutil.copytree("/etc/fail2ban", tmp_path / "fail2ban")
    for part in ("filter.d", "jail.d"):
        shutil.copy(ROOT / "contrib/fail2ban" / part / "relayd.conf", tmp_path / "fail2ban" / part)
    command = ["fail2ban-client", "-c", tmp_path / "fail2ban", "-d"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "['add', 'relayd', 'systemd']" in done.stdout
