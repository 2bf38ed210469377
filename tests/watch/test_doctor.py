"""relayctl doctor, with a daemon, without one, and through an nginx that says more or less of who comes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket as sockets
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
import pytest

from relayd import __version__
from relayd.cli.doctor.daemon import listeners, load, running
from relayd.cli.doctor.finding import Patient
from relayd.cli.doctor.outside import judge
from relayd.gateway.probes import LIVES_S, MAX_PROBES, Probes
from relayd.settings import Settings
from relayd.wire.ids import digest_of
from tests.control.conftest import BIN, Daemon, run_ctl
from tests.watch.conftest import Watched

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
# What a proxy may do about X-Forwarded-For, and what doctor says of it.
PROXIES = {
    "overwrites": ("$remote_addr", "ok", "the proxy says who comes (127.0.0.1)"),
    "appends": ("$proxy_add_x_forwarded_for", "warning", "adds to what clients say"),
    "passes on": ("$http_x_forwarded_for", "problem", "anybody can forge"),
    "drops": ('""', "problem", "does not say who comes"),
    "hides": ("unknown", "problem", "X-Forwarded-For of the proxy (unknown) has no address"),
}
# And about Forwarded, with X-Forwarded-For or without.
NEW_PROXIES = {
    "speaks 7239": ('""', '"for=$remote_addr;proto=$scheme"', "ok", "says who comes (for=127.0.0.1;proto=http)"),
    "adds to 7239": ('""', '"$http_forwarded, for=$remote_addr"', "warning", "adds to what clients say"),
    "hides in 7239": (
        '""',
        '"$http_forwarded, for=_hidden"',
        "problem",
        "Forwarded of the proxy (for=192.0.2.66, for=_h",
    ),
    "drops both": ('""', '""', "problem", "does not say who comes"),
    "passes on 7239": ('""', "$http_forwarded", "problem", "passes on Forwarded as clients send it: anybody can forge"),
    "passes on the other": ("$http_x_forwarded_for", "for=$remote_addr", "problem", "remove X-Forwarded-For"),
    "says it twice": ("$remote_addr", "for=$remote_addr", "ok", "the proxy says who comes (127.0.0.1)"),
}


# What else may stand at public_url, as nginx says it, and what doctor says of it.
STRANGERS = {
    "dead": ("proxy_pass http://127.0.0.1:1;", "does not reach relayd"),
    "renames": ("proxy_pass {base}; proxy_set_header Host evil.example.com;", "proxy_set_header Host $http_host;"),
    "elsewhere": ("return 200 fine;", "is not this relayd"),
    "moved": ("return 301 https://chat.example.org/;", "answers with status 301"),
}


def findings(done):
    return {(one["check"], one["state"]): f"{one['what']} {one['do']}" for one in json.loads(done.stdout)}


def doctor(daemon, code=None):
    """What it finds; whatever this machine is like, one of its own kernel may be a problem, too."""
    done = subprocess.run(
        [BIN / "relayctl", "--socket", daemon.socket, "-o", "json", "doctor"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in ((0, 1) if code is None else (code,))
    return findings(done)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("patient"))
    yield daemon
    assert daemon.end() == 0
    assert "Traceback" not in daemon.log.read_text()


def set_up(daemon, text):
    daemon.config.write_text(text)
    daemon.ctl("reload")


def test_lines(daemon):
    """A line each: how it is, and after an arrow what to do; a sum at the end."""
    set_up(daemon, f'public_url = "{daemon.base}"\nlog_addresses = true\n')
    *lines, total = daemon.ctl("doctor", code=daemon_code(daemon)).stdout.splitlines()
    assert len(lines) > 12
    for line in lines:
        state, rest = line.split(maxsplit=1)
        assert state in ("ok", "warning", "problem")
        assert (" -> " in rest) == (state != "ok"), line
    assert any(line.startswith("warning  settings        log_addresses puts") for line in lines)
    assert total.endswith(("s.", "warning."))


def daemon_code(daemon):
    return 1 if any(state == "problem" for _, state in doctor(daemon)) else 0


def test_settings_that_wait(daemon):
    """A file that has changed, and one that is wrong; neither is taken."""
    set_up(daemon, "")
    assert "are those of the file" in doctor(daemon)["settings", "ok"]
    daemon.config.write_text("workers = 3\n")
    assert "workers" in doctor(daemon)["settings", "warning"]
    daemon.config.write_text("[limits]\nmax_rooms = 5\n")
    assert "limits.max_rooms relayctl reload" in doctor(daemon)["settings", "warning"]
    daemon.config.write_text("[limits]\nmax_roms = 5\n")
    assert "did you mean max_rooms" in doctor(daemon, code=1)["settings", "problem"]
    assert daemon.json("config", "show")["limits"]["max_rooms"] == 50_000


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        ('trusted_proxies = ["0.0.0.0/0"]', "problem", "everybody may say"),
        ('trusted_proxies = ["unix:", "::ffff:0:0/96"]', "problem", "trusted_proxies has ::ffff:0:0/96: everybody"),
        ('allowed_origins = ["*"]', "warning", "any page"),
        ('log_level = "debug"', "warning", "relayctl loglevel info"),
    ],
)
def test_settings_that_are_seldom_meant(daemon, text, state, said):
    set_up(daemon, text)
    assert said in doctor(daemon)["settings", state]


def test_sockets_and_groups(daemon):
    """Who reaches the control socket, and which groups are not there."""
    set_up(daemon, '[control_groups]\nobserve = ["no-such-group"]\n')
    found = doctor(daemon)
    assert "mode 0660" in found["control socket", "ok"]
    assert "no-such-group" in found["groups", "warning"]
    daemon.socket.chmod(0o666)
    assert "chmod 0660" in doctor(daemon)["control socket", "warning"]
    daemon.socket.chmod(0o660)


def test_listening_where_a_proxy_does_not_get(tmp_path):
    """A Unix socket in a directory that is closed, and one that somebody has removed."""
    (tmp_path / "closed").mkdir(mode=0o700)
    place = tmp_path / "closed" / "http.sock"
    daemon = Daemon(tmp_path, "--listen", f"unix:{place}")
    try:
        assert "is closed to others" in doctor(daemon)["listen", "warning"]
        place.parent.chmod(0o750)
        assert f"get to {place}, nobody else" in doctor(daemon)["listen", "ok"]
        place.unlink()
        assert "is gone" in doctor(daemon, code=1)["listen", "problem"]
    finally:
        assert daemon.end() == 0


def test_listening_where_everybody_may_forge_addresses():
    """A Unix socket that is open to all users, at which X-Forwarded-For is believed."""

    def said(mode: int, *trusted: str) -> tuple[str, str]:
        place.chmod(mode)
        settings = msgspec.to_builtins(Settings(trusted_proxies=trusted))
        (finding,) = listeners(Patient("/none", settings, STATUS | {"addresses": [f"unix:{place}"]}))
        return finding.state, f"{finding.what} {finding.do}"

    # Not in tmp_path, where nobody else gets.
    with tempfile.TemporaryDirectory() as directory, sockets.socket(sockets.AF_UNIX) as socket:
        place = Path(directory) / "http.sock"
        place.parent.chmod(0o755)
        socket.bind(str(place))
        state, words = said(0o666, "127.0.0.1", "unix:")
        assert state == "warning"
        assert "may forge addresses" in words
        assert "SocketMode=0660" in words
        assert said(0o660, "unix:")[0] == "ok"
        assert said(0o600, "unix:")[0] == "warning"
        assert said(0o666, "127.0.0.1")[0] == "ok"


def test_where_metrics_are(tmp_path, daemon):
    """At their place; and at one that only the service's own network has, as far as can be told."""
    watched = Watched(tmp_path)
    try:
        assert f"are at unix:{watched.metrics}" in doctor(watched)["metrics", "ok"]
        watched.metrics.unlink()
        assert "relayd-metrics.socket" in doctor(watched)["metrics", "warning"]
    finally:
        assert watched.end() == 0
    set_up(daemon, "")
    assert not any(check == "metrics" for check, _ in doctor(daemon))


def test_without_a_daemon(tmp_path):
    """It says so, looks at the machine all the same, and at the file that relayd would start with."""
    config = tmp_path / "relayd.toml"
    config.write_text("workers = 'many'\n")
    done = run_ctl("--socket", tmp_path / "none", "-o", "json", "doctor", "--config", config, code=3)
    found = findings(done)
    assert "only the machine is looked at" in found["relayd", "problem"]
    assert "workers" in found["settings", "problem"]
    assert any(check == "open files" for check, _ in found)
    assert not any(check == "swap" for check, _ in found)


def test_an_address_that_leads_nowhere(daemon):
    """Nobody there, and somebody else there."""
    with sockets.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    set_up(daemon, f'public_url = "http://127.0.0.1:{port}"\n')
    assert "does not answer: Connection refused" in doctor(daemon, code=1)["public_url", "problem"]
    set_up(daemon, "")
    assert "is not set" in doctor(daemon)["public_url", "warning"]


STATUS = {"version": __version__, "state": "running", "uptime": 60.0, "gateways": [{"lag": 0.01}]}


@pytest.mark.parametrize(
    ("changed", "check", "state", "said"),
    [
        ({}, running, "ok", f"{__version__} runs, for 1 min"),
        ({"version": "0.0.1"}, running, "warning", "runs as 0.0.1"),
        ({"state": "draining"}, running, "warning", "nobody gets in"),
        ({}, load, "ok", "10 ms late"),
        ({"gateways": [{"lag": 0.01}, {"lag": 0.4}]}, load, "problem", "0.4 s late"),
        ({"gateways": []}, load, "problem", "1 of 1 workers are missing"),
    ],
)
def test_how_relayd_fares(changed, check, state, said):
    """By what it says of itself."""
    (finding,) = check(Patient("/none", msgspec.to_builtins(Settings()), STATUS | changed))
    assert finding.state == state
    assert said in finding.what


# How a request arrives. -----------------------------------------------------------------------------------------


def test_only_a_probe_is_told_how_it_arrived(daemon):
    """Neither everybody, nor who guesses; and a proxy's own password is no reason to refuse."""
    for authorization in ("", "Bearer rp_00000000000000000000000000000000", "Basic dTpw"):
        request = urllib.request.Request(f"{daemon.base}/healthz", headers={"Authorization": authorization})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == b'{"status":"ok"}'


def test_a_probe_lasts_a_minute():
    now = 100.0
    probes = Probes(lambda: now)
    probes.admit(digest_of("rp_1"))
    now += LIVES_S - 1
    assert probes.knows("rp_1")
    now += 1
    assert not probes.knows("rp_1")
    for number in range(MAX_PROBES + 1):
        probes.admit(digest_of(f"rp_{number + 2}"))
    assert not probes.knows("rp_2")
    assert probes.knows("rp_3")


@pytest.fixture(scope="module")
def nginx(daemon, tmp_path_factory):
    """An nginx with a port for each way to pass the address on, and one with TLS; their addresses by name."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    directory = tmp_path_factory.mktemp("nginx")
    subprocess.run(
        [*"openssl req -x509 -newkey rsa:2048 -nodes -days 5 -subj /CN=localhost".split(), "-addext",
         "subjectAltName=DNS:localhost", "-keyout", directory / "key", "-out", directory / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    addresses, servers = {}, []
    places = {name: f"proxy_set_header X-Forwarded-For {said};" for name, (said, _, _) in PROXIES.items()}
    for name, (old, new, _, _) in NEW_PROXIES.items():
        places[name] = f"proxy_set_header X-Forwarded-For {old}; proxy_set_header Forwarded {new};"
    places["tls"] = places["overwrites"]
    for name in places:
        places[name] += f" proxy_pass {daemon.base}; proxy_set_header Host $http_host;"
    for name, place in {
        **places,
        **{name: told.format(base=daemon.base) for name, (told, _) in STRANGERS.items()},
    }.items():
        with sockets.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        secure = name == "tls"
        addresses[name] = f"https://localhost:{port}" if secure else f"http://127.0.0.1:{port}"
        tls = f"ssl_certificate {directory}/cert; ssl_certificate_key {directory}/key;" if secure else ""
        listen = f"listen 127.0.0.1:{port}{' ssl' if secure else ''};"
        servers.append(f"server {{ {listen} {tls} access_log off; location / {{ {place} }} }}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    config = directory / "nginx.conf"
    config.write_text(f"pid {directory}/pid;\nevents {{}}\nhttp {{\n{temporary}\n{chr(10).join(servers)}\n}}\n")
    process = subprocess.Popen([NGINX, "-c", config, "-e", directory / "error.log", "-g", "daemon off;"])
    until = time.monotonic() + 30
    for address in addresses.values():
        while not _listens(int(address.rpartition(":")[2])):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
    yield addresses, directory / "cert"
    process.terminate()
    process.wait(30)


def _listens(port):
    with contextlib.suppress(OSError), sockets.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.parametrize("name", PROXIES)
def test_what_a_proxy_says_of_addresses(daemon, nginx, name):
    """As it arrives, with a forged address in it."""
    _, state, said = PROXIES[name]
    set_up(daemon, f'public_url = "{nginx[0][name]}"\ntrusted_proxies = ["127.0.0.1"]\n')
    found = doctor(daemon)
    assert "leads here" in found["public_url", "ok"]
    assert said in found["addresses", state]


@pytest.mark.parametrize("name", NEW_PROXIES)
def test_what_a_proxy_says_by_rfc_7239(daemon, nginx, name):
    """The same of Forwarded, which counts where X-Forwarded-For is not."""
    _, _, state, said = NEW_PROXIES[name]
    set_up(daemon, f'public_url = "{nginx[0][name]}"\ntrusted_proxies = ["127.0.0.1"]\n')
    found = doctor(daemon)
    assert said in found["addresses", state]
    assert not any(check == "forwarded" and "passes on" in what for (check, _), what in found.items())


def test_a_forwarded_that_is_passed_on(daemon, nginx):
    """It is not read where X-Forwarded-For is, so it does no harm yet."""
    set_up(daemon, f'public_url = "{nginx[0]["overwrites"]}"\ntrusted_proxies = ["127.0.0.1"]\n')
    assert 'proxy_set_header Forwarded "";' in doctor(daemon)["forwarded", "warning"]
    set_up(daemon, f'public_url = "{daemon.base}"\ntrusted_proxies = ["127.0.0.1"]\n')
    assert ("forwarded", "warning") not in doctor(daemon)


@pytest.fixture
def workers(tmp_path):
    daemon = Daemon(tmp_path, "--workers", "2")
    yield daemon
    assert daemon.end() == 0
    assert "Traceback" not in daemon.log.read_text()


def test_headers_that_could_not_be_read(workers):
    """Of other requests than doctor's own: their number, of each header, from all workers."""
    daemon = workers
    set_up(daemon, 'trusted_proxies = ["127.0.0.1"]\n')
    assert not any(check == "forwarded" for check, _ in doctor(daemon))
    for header, value in (("X-Forwarded-For", "unknown"), ("Forwarded", "for=_x"), ("X-Forwarded-For", "203.0.113.7.")):
        request = urllib.request.Request(f"{daemon.base}/api/v1/room", headers={header: value}, data=b"")
        urllib.request.urlopen(request, timeout=30).close()
    until = time.monotonic() + 30
    while sum(daemon.json("status")["unreadable_headers"].values()) < 3:
        assert time.monotonic() < until
        time.sleep(0.1)
    counts = {"X-Forwarded-For": 2, "X-Forwarded-Host": 0, "X-Forwarded-Proto": 0, "Forwarded": 1}
    assert daemon.json("status")["unreadable_headers"] == counts
    done = daemon.ctl("-o", "json", "doctor", code=daemon_code(daemon))
    said = [one["what"] for one in json.loads(done.stdout) if (one["check"], one["state"]) == ("forwarded", "warning")]
    assert [what.partition(" since")[0] for what in said] == [
        "X-Forwarded-For of a trusted proxy could not be read 2 times",
        "Forwarded of a trusted proxy could not be read once",
    ]
    log = daemon.log.read_text()
    assert 1 <= log.count("X-Forwarded-For of a trusted proxy cannot be read (logged once)") <= 2  # workers
    assert "203.0.113.7." not in log


@pytest.mark.parametrize("name", STRANGERS)
def test_a_way_that_leads_elsewhere(daemon, nginx, name):
    """Somebody answers, and it is not this relayd, or not as it should be."""
    set_up(daemon, f'public_url = "{nginx[0][name]}"\ntrusted_proxies = ["127.0.0.1"]\n')
    assert STRANGERS[name][1] in doctor(daemon, code=1)["public_url", "problem"]


def test_a_proxy_that_is_not_trusted(daemon, nginx):
    """It says who comes, and is not believed: what to write into the settings is said."""
    set_up(daemon, f'public_url = "{nginx[0]["overwrites"]}"\n')
    assert 'trusted_proxies = ["127.0.0.1"]' in doctor(daemon, code=1)["addresses", "problem"]


def test_a_way_around_the_proxy(daemon):
    """public_url leads to relayd itself: fine as long as nobody there is believed."""
    set_up(daemon, f'public_url = "{daemon.base}"\n')
    assert "is not believed" in doctor(daemon)["addresses", "ok"]
    set_up(daemon, f'public_url = "{daemon.base}"\ntrusted_proxies = ["127.0.0.1"]\n')
    assert "without a proxy" in doctor(daemon)["addresses", "warning"]


def test_certificates(daemon, nginx, monkeypatch):
    """One that nobody trusts is a problem; one that is trusted and soon over, a warning."""
    addresses, certificate = nginx
    set_up(daemon, f'public_url = "{addresses["tls"]}"\ntrusted_proxies = ["127.0.0.1"]\n')
    assert "self-signed" in doctor(daemon, code=1)["public_url", "problem"].replace("self signed", "self-signed")
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
    found = doctor(daemon)
    assert "leads here" in found["public_url", "ok"]
    assert "only good for 5 days" in found["certificate", "warning"]


def test_a_proxy_on_a_unix_socket():
    """It has no port, and is trusted as it comes."""
    seen = {"address": "203.0.113.7", "peer": "unix:", "port": 0, "trusted": True, "forwarded": "203.0.113.7"}
    assert judge(seen, direct=False).state == "ok"
    assert judge({**seen, "rfc7239": "", "unreadable": ""}, direct=False).state == "ok"
