"""make install, make uninstall, the service between them, and a wheel in an environment that has nothing else."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from relayd.cli.describe import commented_defaults
from relayd.cli.man import pages
from relayd.settings import Settings, load
from tests.package.make import PROGRAMS, ROOT, UNITS, make, run, traces
from tests.service import nested

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BASE_PYTHON = sys._base_executable
PREFIX = "/opt/chat"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What make install writes below DESTDIR."""
    root = tmp_path_factory.mktemp("root")
    make("install", DESTDIR=root, PREFIX=PREFIX, PYTHON=BASE_PYTHON)
    return root


def files(root):
    """All files and links below, as the running system would see them."""
    return {f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}


@pytest.mark.parametrize(("lock", "package"), [("requirements.lock", "click"), ("build.lock", "hatchling")])
def test_a_file_that_is_not_the_locked_one(tmp_path, lock, package):
    """Is not installed, whether relayd runs with it or is built with it; what was installed before stays."""
    tree = tmp_path / "tree"
    for name in ("packaging", "relayd", "systemd"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    file = tree / "packaging" / lock
    file.write_text(
        re.sub(rf"^{package}==(.*\n(?:.*--hash.*\n)+)", with_other_hashes, file.read_text(), flags=re.MULTILINE)
    )
    variables = {"DESTDIR": str(tmp_path / "root"), "PREFIX": PREFIX, "SYSCONFDIR": "/etc", "UNITDIR": ""}
    before = tmp_path / "root" / PREFIX[1:] / "lib/relayd/bin/relayd"
    before.parent.mkdir(parents=True)
    before.write_text("the one before")
    done = subprocess.run(
        ["sh", "packaging/install.sh", "install"],
        env={**os.environ, **variables, "PYTHON": BASE_PYTHON, "PIP": f"{sys.executable} -m pip"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tree,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert package in done.stderr
    assert files(tmp_path / "root") == {f"{PREFIX}/lib/relayd/bin/relayd"}


def with_other_hashes(found):
    return re.sub(r"sha256:(\w)", lambda digit: f"sha256:{'1' if digit[1] == '0' else '0'}", found[0])


def test_locks_have_the_tested_versions():
    """What is installed is what tests run with, and each file is named by its SHA-256 alone: by no place it lies at."""
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().lower().split())
    for lock in ("requirements.lock", "build.lock"):
        text = (ROOT / "packaging" / lock).read_text()
        assert "://" not in text
        locked = dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))
        assert len(re.findall(r"^\S", text, re.MULTILINE)) == len(locked)
        others = {name for name, version in locked.items() if tested.get(name, version) != version}
        assert others == set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = (ROOT / "packaging/requirements.lock").read_text()
    for requirement in project["dependencies"]:
        assert f"\n{requirement.partition('>=')[0]}==" in f"\n{runtime}"


def environment_python(root):
    return root / PREFIX[1:] / "lib/relayd/bin/python"


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run(installed, program):
    """From the environment that came with them, by a link among the system's programs."""
    link = installed / PREFIX[1:] / "bin" / program
    assert str(link.readlink()) == f"../lib/relayd/bin/{program}"
    first, _, rest = link.read_text().partition("\n")
    assert first == f"#!{PREFIX}/lib/relayd/bin/python3"
    assert "import" in rest
    words = ["version"] if program == "relayctl" else ["--version"]
    assert run(environment_python(installed), link.resolve(), *words).startswith(f"{program} ")


def test_the_environment_is_its_own(installed):
    """No pip, nobody else's programs, no module of the checkout, and no word of where it was built."""
    python = environment_python(installed)
    script = "import importlib.util, relayd.daemon; print(relayd.__file__, importlib.util.find_spec('pip'))"
    file, _, pip = run(python, "-I", "-c", script).strip().partition(" ")
    assert file.startswith(f"{installed}{PREFIX}/lib/relayd/lib/")
    assert pip == "None"
    programs = {path.name for path in python.parent.iterdir()}
    assert {name for name in programs if not name.startswith("python")} == set(PROGRAMS)
    places = [str(installed).encode(), str(ROOT).encode()]
    told = [path for path in installed.rglob("*") if path.is_file() and any(one in path.read_bytes() for one in places)]
    assert told == []


def test_all_is_compiled(installed):
    """For the place where it will be, as the service may write nowhere."""
    package = next((installed / PREFIX[1:]).glob("lib/relayd/lib/python3*/site-packages/relayd"))
    compiled = {path.name.partition(".")[0] for path in (package / "__pycache__").glob("*.pyc")}
    assert compiled == {path.stem for path in package.glob("*.py")}
    inside = f"{PREFIX}/lib/relayd/lib/{package.parts[-3]}/site-packages/relayd/daemon.py".encode()
    assert inside in next((package / "__pycache__").glob("daemon.*.pyc")).read_bytes()


def test_units_start_what_is_installed(installed):
    """Every program that a unit names is there."""
    units = list((installed / "etc/systemd/system").iterdir())  # systemd looks for none below /opt
    assert {unit.name for unit in units} == {path.name for path in ROOT.glob("systemd/relayd*.*et")} | {
        "relayd.service"
    }
    text = "".join(unit.read_text() for unit in units)
    named = set(re.findall(r"^Exec(?:Start|Stop|Reload)\w*=[-+!@:]*(\S+)", text, re.MULTILINE))
    assert f"{PREFIX}/bin/relayd" in named
    assert {path for path in named if not (installed / path[1:]).is_file()} == set()
    manual = re.findall(r"man:([\w.]+)\((\d)\)", text)
    assert {f"{name}.{section}" for name, section in manual} <= pages().keys()
    assert (installed / "etc/sysusers.d/relayd.conf").read_text().count("relayd-admin") >= 1


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_where_systemd_looks(tmp_path, prefix):
    """Below the prefix; given by UNITDIR, there."""
    variables = f"DESTDIR={tmp_path} PREFIX={prefix} SYSCONFDIR=/etc PYTHON=x PIP=x"
    script = f". {ROOT}/packaging/install.sh"
    shown = run("sh", "-c", f'{variables}; {script}; echo "$UNITDIR $sysusers"', "sh", "uninstall", cwd=ROOT)
    assert shown.split() == [f"{prefix}/lib/systemd/system", f"{prefix}/lib/sysusers.d"]
    given = f'{variables}; UNITDIR=/lib/systemd/system; {script}; echo "$UNITDIR"'
    assert run("sh", "-c", given, "sh", "uninstall", cwd=ROOT).split() == ["/lib/systemd/system"]


def test_settings_file(installed, tmp_path):
    """A short one that changes nothing, and a directory for more. What it shows is a setting."""
    file = installed / "etc/relayd/relayd.toml"
    assert load(str(file), {}, {}) == Settings()
    assert len(file.read_text().splitlines()) < 10
    assert (installed / "etc/relayd/relayd.toml.d").is_dir()
    uncommented = tmp_path / "relayd.toml"
    uncommented.write_text(re.sub(r"^#(\w+ = )", r"\1", file.read_text(), flags=re.MULTILINE))
    assert load(str(uncommented), {}, {}).public_url == "https://chat.example.org"


def test_all_settings_with_their_defaults(tmp_path):
    """`relayctl config defaults` prints every key, commented out; uncommented it says what holds anyway."""
    file = tmp_path / "relayd.toml"
    file.write_text(commented_defaults())
    assert load(str(file), {}, {}) == Settings()
    uncommented = re.sub(r"^#(\w+ = )", r"\1", file.read_text(), flags=re.MULTILINE)
    assert uncommented != file.read_text()
    assert tomllib.loads(uncommented)["rooms"]["max"] == Settings().rooms.max


def test_manual_pages_and_example(installed):
    """As they are in docs/man; and what contrib has."""
    share = installed / PREFIX[1:] / "share"
    for name, text in pages().items():
        assert gzip.decompress((share / f"man/man{name[-1]}/{name}.gz").read_bytes()).decode() == text
    site = share / "doc/relayd/examples/nginx/relayd.conf"
    assert site.read_text() == (ROOT / "contrib/nginx/relayd.conf").read_text()


SHELLS = {
    "bash": ("bash-completion/completions/{}", "source {file} && complete -p {program}"),
    "zsh": (
        "zsh/site-functions/_{}",
        "fpath=({directory} $fpath); autoload -U compinit; compinit -D -u; print -r $_comps[{program}]",
    ),
    "fish": ("fish/vendor_completions.d/{}.fish", "source {file}; complete -c {program}"),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", SHELLS)
def test_completion(installed, program, shell):
    """Where each shell looks for it, and the shell takes it."""
    place, command = SHELLS[shell]
    file = installed / PREFIX[1:] / "share" / place.format(program)
    assert f"_{program.upper()}_COMPLETE" in file.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    taken = run(shell, "-c", command.format(file=file, directory=file.parent, program=program))
    assert f"_{program}" in taken


def test_a_second_install_keeps_settings_and_uninstall_too(installed, tmp_path):
    """make uninstall removes whatever make install wrote, but for the settings."""
    root = tmp_path / "root"
    shutil.copytree(installed, root, symlinks=True)
    settings = root / "etc/relayd/relayd.toml"
    settings.write_text("[rooms]\nmax = 7\n")
    before = files(root)
    make("uninstall", DESTDIR=root, PREFIX=PREFIX)
    assert files(root) == {"/etc/relayd/relayd.toml"}
    assert settings.read_text() == "[rooms]\nmax = 7\n"
    assert len(before) > 100
    assert not (root / PREFIX[1:]).exists()


@pytest.mark.parametrize(
    ("prefix", "python", "named"),
    [
        ("/home/ann/relayd", "/usr/bin/python3", "PREFIX /home/ann/relayd"),
        ("/opt/relayd-test", "/root/python/bin/python3", "PYTHON /root/python/bin/python3"),
    ],
)
def test_a_place_that_the_service_cannot_see(prefix, python, named):
    """Is refused before anything is written, and the message says what to give instead."""
    # The one word that the shell is told otherwise: where a Python is that this machine may not have.
    script = f'readlink() {{ echo "$2"; }}; command() {{ echo "$2"; }}; . {ROOT}/packaging/install.sh'
    variables = {"DESTDIR": "", "SYSCONFDIR": "/etc", "PIP": "false", "PREFIX": prefix, "PYTHON": python}
    done = subprocess.run(
        ["sh", "-c", script, "sh", "install"],
        env={**variables, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert f"The service cannot use {named}" in done.stderr
    assert not Path(prefix).exists()


@pytest.fixture(scope="module")
def system():
    """A system without relayd."""
    if reason := nested.why_not():
        pytest.skip(reason)
    with nested.boot(install=False) as system:
        yield system


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs the system's Python")
def test_the_service_of_an_installation(system):
    """Below /opt: systemd finds it, it serves, and make uninstall stops it and leaves nothing but the settings."""
    before = traces(system)
    make("install", DESTDIR=system.root, PREFIX=PREFIX, PYTHON="/usr/bin/python3")
    checkout = system.root / "root/checkout"
    for directory in ("packaging", "systemd", "docs/man"):
        shutil.copytree(ROOT / directory, checkout / directory)
    system.run("systemd-sysusers")
    system.systemctl("daemon-reload")
    system.systemctl("enable", "--now", "relayd.service")
    assert '"ok"' in system.run("curl", "-sS", "http://127.0.0.1:8080/healthz").stdout
    uninstall = ("sh", "packaging/install.sh", "uninstall")
    variables = ("SYSCONFDIR=/etc", "DESTDIR=", "PYTHON=", "PIP=", "PATH=/usr/sbin:/usr/bin")
    # The service of another installation is not stopped.
    system.run("env", "-C", "/root/checkout", "PREFIX=/usr/local", *variables, *uninstall)
    assert system.systemctl("is-active", "relayd.service") == "active"
    system.run("env", "-C", "/root/checkout", f"PREFIX={PREFIX}", *variables, *uninstall)
    assert system.systemctl("is-active", *UNITS, code=None).split() == ["inactive"] * len(UNITS)
    assert not system.run("pgrep", "-f", "bin/relayd", code=None).stdout
    assert traces(system) - before == {"/etc/relayd", "/etc/relayd/relayd.toml", "/run/relayd"}
    assert not (system.root / PREFIX[1:]).exists()


def test_a_wheel_in_an_empty_environment(tmp_path):
    """What pip or pipx make of this directory: the package and its files, no tests; and the programs run."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("relayd-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if name.startswith("relayd/")}
    shown = run("git", "-C", ROOT, "ls-files", "relayd").split() if (ROOT / ".git").exists() else []
    assert set(shown) <= packed
    assert {Path(name).parts[0] for name in names - packed} == {next(iter(names - packed)).partition("/")[0]}
    run(BASE_PYTHON, "-m", "venv", "--without-pip", tmp_path / "venv")
    run(*pip, "--python", tmp_path / "venv/bin/python", "install", "-c", ROOT / "constraints.txt", wheel)
    for program in PROGRAMS:
        words = ["version"] if program == "relayctl" else ["--version"]
        assert run(tmp_path / "venv/bin" / program, *words).startswith(f"{program} ")
