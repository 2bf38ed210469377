"""make deb, and the life of the package: installed, used, upgraded, removed and purged in a system of its own."""

from __future__ import annotations

import contextlib
import re
import shutil

import pytest

from relayd import __version__
from tests.nginx.site import HOST, NGINX, write_certificate
from tests.package.make import ROOT, make, run
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
    control.write_text(re.sub(r"^(Version: .*)$", r"\1.1", control.read_text(), flags=re.MULTILINE))
    settings = directory / "tree/etc/relayd/relayd.toml"
    settings.write_text(settings.read_text() + "# A new key.\n")
    deb = directory / "relayd_newer.deb"
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


@pytest.fixture(scope="module")
def page():
    """What docs/admin.md has root type, by chapter."""
    text = (ROOT / "docs/admin.md").read_text()
    chapters = {}
    for chapter in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        shown = re.findall(r"^```sh system\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
        chapters[chapter.partition("\n")[0]] = shown
    return chapters


class Admin:
    """Root in that system, in a checkout in which `make deb` was just done."""

    def __init__(self, system):
        self.system = system
        self.checkout = system.root / "root/checkout"
        (self.checkout / "dist").mkdir(parents=True)
        # What Debian and a certificate authority would have given before.
        certificate = system.root / "etc/letsencrypt/live" / HOST
        certificate.mkdir(parents=True)
        write_certificate(certificate)
        with (system.root / "etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 {HOST}\n")
        system.systemctl("start", "nginx")
        # Where dpkg asks whether to keep changed settings, the answer is yes; and this disk is memory.
        (system.root / "etc/dpkg/dpkg.cfg.d/test").write_text("force-confold\nforce-unsafe-io\n")

    def has_made(self, deb):
        for old in (self.checkout / "dist").iterdir():
            old.unlink()
        shutil.copyfile(deb, self.checkout / "dist" / deb.name)

    def types(self, text):
        """Follows the page; what is printed."""
        trusted = f"SSL_CERT_FILE=/etc/letsencrypt/live/{HOST}/fullchain.pem"
        typed = text.replace("make deb\n", "")
        environment = ("HOME=/root", "DEBIAN_FRONTEND=noninteractive", trusted)
        return self.system.run("env", *environment, "timeout", "90", "sh", "-euc", f"cd /root/checkout; {typed}").stdout


def traces(system):
    """Files of that name, without logs and what systemd knows of units while it runs."""
    places = ("etc", "usr", "lib", "var", "run")
    found = system.run("find", *(f"/{place}" for place in places), "-name", "*relayd*").stdout.split()
    return {path for path in found if not path.startswith(("/var/log/", "/run/systemd/", "/run/credentials"))}


@contextlib.contextmanager
def asked_all_the_time(system):
    """Somebody looks at the page again and again, each time on a new connection; gives what gives all answers."""
    file = system.root / "root/answers"
    file.unlink(missing_ok=True)
    look = f"curl -s -o /dev/null -w '%{{http_code}}\\n' --resolve {HOST}:443:127.0.0.1 -k https://{HOST}/"
    with system.running("sh", "-c", f"while :; do {look} >> /root/answers; sleep 0.02; done"):
        nested.until(file.exists)
        yield lambda: file.read_text().split()


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx)")
def test_its_life(system, package, newer, page):
    """Each step of docs/admin.md leaves the system as an admin expects; people can chat in between."""
    before = traces(system)
    admin = Admin(system)
    install, name, nginx, look = page["From nothing to a chat server in ten minutes"]
    upgrade, purge = page["Upgrading"]

    admin.has_made(package)
    admin.types(install)
    assert system.systemctl("is-active", *UNITS).split() == ["active"] * len(UNITS)
    assert system.run("relayd", "--version").stdout == f"relayd {__version__}\n"
    assert "relayd-admin" in system.run("getent", "group", "relayd-admin").stdout

    admin.types(name + nginx)
    link = admin.types(look).splitlines()[-1]
    assert link.startswith(f"https://{HOST}/")
    admin.types(CHAT)

    system.systemctl("enable", "relayd-metrics.socket")
    system.systemctl("restart", "relayd")
    admin.types("relayctl create room cake")
    old, open_since = system.main_pid, [system.show(OPEN_SINCE, unit) for unit in SOCKETS]
    admin.has_made(newer)
    with asked_all_the_time(system) as answers:
        admin.types(upgrade)
    assert set(answers()) == {"200"}
    assert system.main_pid not in (0, old)
    assert [system.show(OPEN_SINCE, unit) for unit in SOCKETS] == open_since
    assert f'public_url = "https://{HOST}"' in (system.root / "etc/relayd/relayd.toml").read_text()
    assert f"https://{HOST}/" in admin.types("relayctl get room cake; relayctl create room")
    assert "relayd_rooms" in admin.types("curl -sS http://127.0.0.1:9180/metrics")
    old = system.main_pid
    admin.types("relayctl upgrade")
    nested.until(lambda: system.main_pid not in (0, old))
    assert system.systemctl("is-active", "relayd.service") == "active"
    assert "cake" in admin.types("relayctl list rooms")
    admin.types(CHAT)

    with asked_all_the_time(system):  # nor is it started again by that
        admin.types("apt remove -y relayd")
    ended = (*UNITS, "relayd-metrics.socket")
    assert system.systemctl("is-active", *ended, code=None).split() == ["inactive"] * len(ended)
    assert not system.run("pgrep", "-f", "bin/relayd", code=None).stdout
    assert (system.root / "etc/relayd/relayd.toml").exists()
    assert not (system.root / "usr/lib/relayd").exists()

    admin.types(purge)
    assert traces(system) - before == {"/etc/nginx/conf.d/relayd.conf"}


SOCKETS = ("relayd.socket", "relayd-control.socket")
UNITS = (*SOCKETS, "relayd.service")
OPEN_SINCE = "ActiveEnterTimestampMonotonic"

# Somebody makes a room and speaks, and somebody else hears it, through nginx; the admin sees them.
CHAT = f"""
    relay new --server https://{HOST} --name tea > /tmp/link
    relay receive @/tmp/link --nick bob > /tmp/heard & listener=$!
    until relayctl -o json get room tea | grep -q '"users": *1'; do sleep 0.1; done
    relay send @/tmp/link --nick ann "Kettle is on"
    until grep -q 'Kettle is on' /tmp/heard; do sleep 0.1; done
    kill $listener
    relayctl close room tea
"""
