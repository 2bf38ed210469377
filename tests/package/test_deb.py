"""make deb, and the life of the package: installed, used, upgraded, removed and purged in a system of its own."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess

import pytest

from relayd import __version__
from tests.nginx.site import HOST, NGINX, write_certificate
from tests.package.make import ROOT, SOCKETS, UNITS, make, run, traces
from tests.service import nested
from tests.service.test_service import join

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


def variant(package, directory, number, changes):
    """The package with a higher version, in which text of some files is replaced.

    Args:
        number: the higher, the later.
        changes: a name below /, and what is replaced there by what; "" is appended to.
    """
    tree = directory / f"tree{number}"
    run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", rf"\1.{number}", control.read_text(), flags=re.MULTILINE))
    for name, (old, new) in changes.items():
        (file,) = tree.glob(name)
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new) if old else text + new)
    deb = directory / f"relayd_{number}.deb"
    run("dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, deb)
    return deb


CODE = "usr/lib/relayd/lib/python3*/site-packages/relayd"


@pytest.fixture(scope="module")
def newer(package, tmp_path_factory):
    """The next version, with another file of settings."""
    new_key = {"usr/share/relayd/relayd.toml": ("", "# A new key.\n")}
    return variant(package, tmp_path_factory.mktemp("newer"), 1, new_key)


@pytest.fixture(scope="module")
def versions(package, tmp_path_factory):
    """Later versions: one that cannot start, good ones, and ones that cannot take over from those before."""
    directory = tmp_path_factory.mktemp("versions")
    changes = {
        "broken": {f"{CODE}/daemon.py": ("", "raise RuntimeError\n")},
        "good": {},
        "other format": {f"{CODE}/upgrade.py": ("\nFORMAT = ", "\nFORMAT = 1000 + ")},
        "other rooms": {f"{CODE}/hub/memlog.py": ("\nVERSION = ", "\nVERSION = 1000 + ")},
        "last": {f"{CODE}/hub/memlog.py": ("\nVERSION = ", "\nVERSION = 1000 + ")},
    }
    return {
        name: variant(package, directory, number, replaced)
        for number, (name, replaced) in enumerate(changes.items(), start=2)
    }


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
        (system.root / "etc/dpkg/dpkg.cfg.d/test").write_text("force-unsafe-io\n")  # this disk is memory

    def has_made(self, deb):
        for old in (self.checkout / "dist").iterdir():
            old.unlink()
        shutil.copyfile(deb, self.checkout / "dist" / deb.name)

    def types(self, text, code=0):
        """Follows the page; what is printed. The last command ends with that code."""
        trusted = f"SSL_CERT_FILE=/etc/letsencrypt/live/{HOST}/fullchain.pem"
        typed = text.replace("make deb\n", "")
        command = ("timeout", "90", "sh", "-euc", f"cd /root/checkout; {typed}")
        # Nobody is there to answer a question of dpkg's.
        environment = ("HOME=/root", "DEBIAN_FRONTEND=noninteractive", trusted)
        done = self.system.run("env", *environment, *command, code=code, stdin=subprocess.DEVNULL)
        return done.stdout + done.stderr

    def installs(self, deb, code=0):
        """As docs/admin.md has it; what is printed."""
        self.has_made(deb)
        return self.types("apt install -y ./dist/relayd_*.deb", code)


@contextlib.contextmanager
def asked_all_the_time(system):
    """Somebody looks at the page again and again, each time on a new connection; gives what gives all answers."""
    file = system.root / "root/answers"
    file.unlink(missing_ok=True)
    look = f"curl -s -o /dev/null -w '%{{http_code}}\\n' --resolve {HOST}:443:127.0.0.1 -k https://{HOST}/"
    with system.running("sh", "-c", f"while :; do {look} >> /root/answers; sleep 0.02; done"):
        nested.until(file.exists)
        yield lambda: file.read_text().split()


@pytest.fixture(scope="module")
def admin(system):
    return Admin(system)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx)")
def test_its_life(admin, package, newer, page):
    """Each step of docs/admin.md leaves the system as an admin expects; people can chat in between."""
    system = admin.system
    before = traces(system)
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
    ours = system.root / "etc/relayd/relayd.toml.d/ours.toml"
    ours.write_text("[rooms]\nmax = 7\n")
    system.systemctl("reload", "relayd")
    old, open_since = system.main_pid, [system.show(OPEN_SINCE, unit) for unit in SOCKETS]
    admin.has_made(newer)
    with asked_all_the_time(system) as answers:
        admin.types(upgrade)
    assert set(answers()) == {"200"}
    assert system.main_pid not in (0, old)
    assert [system.show(OPEN_SINCE, unit) for unit in SOCKETS] == open_since
    assert f'public_url = "https://{HOST}"' in (system.root / "etc/relayd/relayd.toml").read_text()
    assert f"https://{HOST}/" in admin.types("relayctl get room cake; relayctl create room")
    assert "rooms.max = 7\n" in admin.types("relayctl config show")
    assert "relayd_rooms" in admin.types("curl -sS http://127.0.0.1:9180/metrics")
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
    (system.root / "etc/nginx/conf.d/relayd.conf").unlink()


async def test_upgrades(admin, package, versions):
    """Nobody is disconnected, and no room lost: by a version that cannot start, one that can, and incompatible ones."""
    system = admin.system
    admin.installs(package)
    room = system.relayctl("create", "room", "precious")
    (system.root / "etc/relayd/relayd.toml").write_text("[rooms]\nmax = 7\n")
    async with contextlib.AsyncExitStack() as people:
        ann = await join(system, room)
        people.push_async_callback(ann.socket.close)

        old = system.main_pid
        assert "the running relayd is left as it is" in admin.installs(versions["broken"], code=100)
        assert system.main_pid == old
        await talks(ann, "1")

        admin.installs(versions["good"])
        assert system.main_pid not in (0, old)
        await talks(ann, "2")

        old = system.main_pid
        (system.root / "etc/relayd/relayd.toml").write_text("workers = -1\n")
        said = admin.installs(versions["other format"], code=100)
        assert "/etc/relayd/relayd.toml: workers: " in said
        assert "dpkg --configure relayd" in said
        assert system.main_pid == old
        await talks(ann, "3")

        (system.root / "etc/relayd/relayd.toml").write_text("[rooms]\nmax = 8\n")
        admin.types("dpkg --configure relayd")
        assert system.main_pid not in (0, old)
        assert (await ann.closed())[0] == 4500
        again = await join(system, room, session=ann.session)
        people.push_async_callback(again.socket.close)
        assert again.id == ann.id

        old = system.main_pid
        assert "the previous version keeps running" in admin.installs(versions["other rooms"])
        assert system.main_pid == old
        await talks(again, "4")
    system.relayctl("close", "room", "precious")
    admin.installs(versions["last"])
    assert system.main_pid not in (0, old)
    admin.types("apt purge -y relayd")


async def talks(peer, message_id):
    """The connection is the same, and serves."""
    await peer.say(message_id)
    await peer.until("message", id=message_id, timeout=30)


def test_the_port_is_taken(admin, package):
    """What nginx needs is there all the same, and so is relayctl."""
    system = admin.system
    with system.running("python3", "-m", "http.server", "--bind", "127.0.0.1", "8080"):
        nested.until(lambda: not system.run("curl", "-so", "/dev/null", "http://127.0.0.1:8080", code=None).returncode)
        admin.installs(package)
        assert system.systemctl("is-active", "relayd.service", "relayd.socket").split() == ["active"] * 2
        assert '"ok"' in admin.types("curl -sS --unix-socket /run/relayd/http.sock http://localhost/healthz")
        assert "relayd-tcp.socket" in admin.types("relayctl doctor || true")
    admin.types("apt purge -y relayd")


def test_removed_beside_make_install(admin, package):
    """A service of units below /usr/local, as `make install` makes them, goes on without the package."""
    system = admin.system
    admin.installs(package)
    admin.types(
        "mkdir -p /usr/local/lib/systemd/system && cp -a /usr/lib/relayd /usr/local/lib/"
        " && cp /lib/systemd/system/relayd* /usr/local/lib/systemd/system/"
        " && sed -i 's,/usr/bin/relay,/usr/local/lib/relayd/bin/relay,' /usr/local/lib/systemd/system/relayd.service"
        " && systemctl daemon-reload"
    )
    system.relayctl("create", "room", "precious")
    before = system.main_pid
    admin.types("apt remove -y relayd")
    assert system.main_pid == before
    asked = "curl -sS --unix-socket /run/relayd/control.sock http://relayd/v1/rooms/precious"
    assert "precious" in admin.types(asked)
    admin.types(
        "systemctl stop relayd.socket relayd-tcp.socket relayd-control.socket relayd.service; apt purge -y relayd"
    )
    admin.types("rm -r /usr/local/lib/relayd /usr/local/lib/systemd && systemctl daemon-reload")


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
