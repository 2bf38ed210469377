"""make deb, and the life of the package: installed, used, upgraded, removed and purged in a system of its own."""

from __future__ import annotations

import json
import shutil

import pytest

from relayd import __version__
from tests.package.make import make, run
from tests.service import nested

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("dh") is None, reason="debhelper is not installed (apt-get install debhelper)"),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package."""
    directory = tmp_path_factory.mktemp("deb")
    make("deb", BUILD=directory / "build", DIST=directory)
    (deb,) = directory.glob("relayd_*.deb")
    return deb


@pytest.fixture(scope="module")
def newer(package, tmp_path_factory):
    """The same with a higher version and another file of settings, as an upgrade brings it."""
    directory = tmp_path_factory.mktemp("newer")
    run("dpkg-deb", "-R", package, directory / "tree")
    control = directory / "tree/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}", f"Version: {__version__}+1"))
    settings = directory / "tree/etc/relayd/relayd.toml"
    settings.write_text(settings.read_text() + "# A new key.\n")
    deb = directory / "newer.deb"
    run("dpkg-deb", "-Znone", "--root-owner-group", "-b", directory / "tree", deb)
    return deb


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed (apt-get install lintian)")
def test_lintian_finds_no_error(package):
    """What it thinks of as one and is none has its reason in packaging/debian/relayd.lintian-overrides."""
    run("lintian", "--allow-root", "--fail-on", "error", package)


@pytest.fixture(scope="module")
def system():
    """A system without relayd."""
    if reason := nested.why_not():
        pytest.skip(reason)
    with nested.boot(install=False) as system:
        # Images for containers forbid packages to start services; this is about a machine.
        (system.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        yield system


def ask(system, path, *options):
    """A request to relayd's Unix socket, as the user that nginx has."""
    user = ("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups")
    url = f"http://localhost{path}"
    return json.loads(system.run(*user, "curl", "-sS", "--unix-socket", "/run/relayd/http.sock", url, *options).stdout)


def dpkg(system, *arguments):
    system.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confold", "--force-unsafe-io", *arguments)


def traces(system):
    """Files of that name, without what dpkg and systemd remember of every package and unit there ever was."""
    places = ("etc", "usr", "lib", "var", "run")
    found = system.run("find", *(f"/{place}" for place in places), "-name", "*relayd*").stdout.split()
    return {path for path in found if not path.startswith(("/var/log/", "/run/systemd/", "/run/credentials"))}


def test_its_life(system, package, newer, tmp_path):
    """Each step leaves the system as an admin expects; people can chat between them."""
    for deb, name in ((package, "old"), (newer, "new")):
        shutil.copyfile(deb, system.root / f"tmp/{name}.deb")
    assert traces(system) == set()

    dpkg(system, "-i", "/tmp/old.deb")
    assert (
        system.systemctl("is-active", "relayd.socket", "relayd-control.socket", "relayd.service").split()
        == ["active"] * 3
    )
    assert ask(system, "/readyz") == {"status": "ready"}
    assert system.run("relayd", "--version").stdout == f"relayd {__version__}\n"
    assert system.run("getent", "group", "relayd-admin").stdout
    chats(system)
    settings = system.root / "etc/relayd/relayd.toml"
    settings.write_text('public_url = "https://chat.example.org"\n')
    system.systemctl("reload", "relayd")
    assert ask(system, "/api/v1/room", "-d", "")["link"].startswith("https://chat.example.org/")

    system.systemctl("enable", "relayd-metrics.socket")
    system.systemctl("restart", "relayd")
    before = system.main_pid
    dpkg(system, "-i", "/tmp/new.deb")
    assert system.main_pid not in (0, before)
    assert settings.read_text() == 'public_url = "https://chat.example.org"\n'
    assert ask(system, "/api/v1/room", "-d", "")["link"].startswith("https://chat.example.org/")

    assert "relayd_rooms" in system.run("curl", "-sS", "http://127.0.0.1:9180/metrics").stdout

    dpkg(system, "-r", "relayd")
    ended = ("relayd.socket", "relayd-control.socket", "relayd-metrics.socket", "relayd.service")
    assert system.systemctl("is-active", *ended, code=None).split() == ["inactive"] * 4
    assert not system.run("pgrep", "-f", "relayd", code=None).stdout
    assert "/etc/relayd" in traces(system)
    assert not (system.root / "usr/lib/relayd").exists()

    dpkg(system, "-P", "relayd")
    assert traces(system) == set()
    assert system.run("dpkg", "-l", "relayd", code=None).returncode


def chats(system):
    """Somebody makes a room and speaks, and somebody else hears it; the admin sees them."""
    script = """
        relay new --name tea > /tmp/link
        relay receive @/tmp/link --nick bob > /tmp/heard & listener=$!
        until relayctl -o json get room tea | grep -q '"users": *1'; do sleep 0.1; done
        relay send @/tmp/link --nick ann "Kettle is on"
        until grep -q 'Kettle is on' /tmp/heard; do sleep 0.1; done
        kill $listener
        relayctl close room tea
    """
    system.run("env", "HOME=/root", "timeout", "60", "sh", "-euc", script)
