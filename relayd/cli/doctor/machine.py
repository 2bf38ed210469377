"""The kernel's settings, as many connections need them."""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Iterator
from datetime import datetime

from relayd.cli.ctl_output import duration, number, size
from relayd.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, Patient
from relayd.machine.descriptors import RESERVE

BACKLOG = 4096  # connections that wait to be accepted, as relayd and its socket unit ask for
FEW_CLIENTS = 2_000  # a limit below is felt on any server that is used
_OF_OTHERS = 10_000  # descriptors that a machine takes besides
_BUSY_SHARE, _BUSY_BYTES = 10, 16 * 1024  # one in ten has something under way: what a socket holds back at most
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex has 208 of them
_SET_S = 2.0  # by less the clock is only a little wrong


def open_files(patient: Patient) -> Iterator[Finding]:
    """Each client takes a descriptor."""
    limits = [line for pid in patient.pids for line in patient.text(f"proc/{pid}/limits").splitlines()]
    # The soft limit of a running relayd is what it has; one that is to be started raises it to the hard one.
    column = 3 if patient.runs else 4
    found = [line.split()[column] for line in limits if line.startswith("Max open files")]
    allowed = min((int(text) for text in found if text.isdecimal()), default=resource.RLIM_INFINITY)
    if allowed == resource.RLIM_INFINITY or allowed - RESERVE >= patient.clients:
        yield Finding("open files", OK, f"enough for {number(patient.clients)} clients of a process")
        return
    yield Finding(
        "open files",
        PROBLEM if allowed < FEW_CLIENTS else WARNING,
        f"{number(allowed)} are allowed: newcomers wait once there are about {number(max(0, allowed - RESERVE))}",
        f"LimitNOFILE={patient.clients + RESERVE} in the unit, or a higher hard limit (ulimit -Hn)",
    )


def all_files(patient: Patient) -> Iterator[Finding]:
    """All processes' together."""
    allowed = patient.numbers("proc/sys/fs/file-max")
    needed = patient.clients * _processes(patient) + _OF_OTHERS
    if allowed and allowed[0] < needed:
        yield _too_low("all files", f"fs.file-max is {number(allowed[0])}", f"fs.file-max={needed}")
    elif allowed:
        yield Finding("all files", OK, "fs.file-max is high enough")


def accept_queue(patient: Patient) -> Iterator[Finding]:
    """Where newcomers wait to be accepted."""
    allowed = patient.numbers("proc/sys/net/core/somaxconn")
    if allowed and allowed[0] < BACKLOG:
        what = f"net.core.somaxconn is {allowed[0]}: when many come at once, some are turned away"
        yield _too_low("accept queue", what, f"net.core.somaxconn={BACKLOG}")
    elif allowed:
        yield Finding("accept queue", OK, f"{number(BACKLOG)} newcomers may wait")


def tcp_memory(patient: Patient) -> Iterator[Finding]:
    """What all sockets of the machine may hold."""
    pages = patient.numbers("proc/sys/net/ipv4/tcp_mem")
    if len(pages) != 3:
        return
    allowed = pages[2] * resource.getpagesize()
    needed = patient.clients // _BUSY_SHARE * _BUSY_BYTES
    if allowed < needed:
        what = f"net.ipv4.tcp_mem allows {size(allowed)}: with many slow readers connections stall"
        more = needed // resource.getpagesize()
        yield _too_low("tcp memory", what, f'net.ipv4.tcp_mem="{more // 2} {more * 3 // 4} {more}"')
    else:
        yield Finding("tcp memory", OK, f"{size(allowed)} for all sockets")


def ports(patient: Patient) -> Iterator[Finding]:
    """A proxy has one port for each client, unless it comes over a Unix socket."""
    bounds = patient.numbers("proc/sys/net/ipv4/ip_local_port_range")
    over_tcp = [text for text in patient.settings["trusted_proxies"] if text != "unix:"]
    if not over_tcp or len(bounds) != 2:
        yield Finding("ports", OK, "none are needed: no proxy comes over TCP")
        return
    count = bounds[1] - bounds[0] + 1
    if count < patient.clients:
        yield Finding(
            "ports",
            WARNING,
            f"a proxy over TCP can bring {number(count)} clients at most",
            'a Unix socket has no ports (listen = ["unix:/run/relayd/http.sock"]); '
            'or sysctl -w net.ipv4.ip_local_port_range="1024 65535"',
        )
    else:
        yield Finding("ports", OK, f"{number(count)} for a proxy's connections")


def conntrack(patient: Patient) -> Iterator[Finding]:
    """The firewall's table: past its end packets are dropped without a word."""
    most, now = (patient.numbers(f"proc/sys/net/netfilter/nf_conntrack_{name}") for name in ("max", "count"))
    if not most:
        yield Finding("conntrack", OK, "is not in use")
    elif now and now[0] > 0.8 * most[0]:
        what = f"{number(now[0])} of {number(most[0])} entries are taken: soon connections fail without a word"
        yield Finding("conntrack", PROBLEM, what, _sysctl(f"net.netfilter.nf_conntrack_max={2 * most[0]}"))
    elif most[0] < patient.clients:
        what = f"net.netfilter.nf_conntrack_max is {number(most[0])}, fewer than {number(patient.clients)} clients"
        yield _too_low("conntrack", what, f"net.netfilter.nf_conntrack_max={2 * patient.clients}")
    else:
        yield Finding("conntrack", OK, f"{number(most[0])} entries")


def swap(patient: Patient) -> Iterator[Finding]:
    """What is said is in memory, and must not get to a disk from there."""
    if not patient.runs:
        return
    swapped = sum(_swapped_kib(patient, pid) for pid in patient.pids)
    devices = [line.split()[0] for line in patient.text("proc/swaps").splitlines()[1:]]
    fix = "MemorySwapMax=0 in the unit, or swapoff -a"
    if swapped:
        yield Finding("swap", PROBLEM, f"{size(1024 * swapped)} of relayd's memory are on {', '.join(devices)}", fix)
    elif not [device for device in devices if not device.startswith("/dev/zram")]:
        yield Finding("swap", OK, "there is none on a disk")
    elif _swap_max(patient) == "0":
        yield Finding("swap", OK, "relayd's memory is locked out of it")
    else:
        yield Finding("swap", WARNING, f"relayd's memory may get to {', '.join(devices)}", fix)


def core_dumps(patient: Patient) -> Iterator[Finding]:
    """The same for what a crash leaves behind."""
    if not patient.runs:
        return
    limits = [line for pid in patient.pids for line in patient.text(f"proc/{pid}/limits").splitlines()]
    allowed = {line.split()[4] for line in limits if line.startswith("Max core file size")}
    pattern = patient.text("proc/sys/kernel/core_pattern").strip()
    if allowed - {"0"}:
        yield Finding("core dumps", WARNING, "a crash would leave relayd's memory behind", "LimitCORE=0 in the unit")
    elif pattern.startswith("|") and "systemd-coredump" not in pattern:
        # core(5): the limit is not enforced for a program; systemd-coredump keeps to it by itself.
        program = pattern[1:].split()[0]
        yield Finding("core dumps", WARNING, f"{program} gets them, whatever the limit", "kernel.core_pattern=core")
    else:
        yield Finding("core dumps", OK, "a crash leaves nothing behind")


def clock(patient: Patient) -> Iterator[Finding]:
    """People see its time, and certificates are judged by it."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # all zeros: it is only read
    if ctypes.CDLL(None).adjtimex(timex) == _TIME_ERROR:
        yield Finding("clock", WARNING, "is not synchronised", "timedatectl set-ntp true, or install chrony")
    else:
        yield Finding("clock", OK, "is synchronised")
    if patient.runs:
        started = datetime.fromisoformat(patient.status["started"]).timestamp()
        ahead = time.time() - (started + patient.status["uptime"])
        if abs(ahead) > _SET_S:
            what = f"was set {'forward' if ahead > 0 else 'back'} by {duration(abs(ahead))} since relayd began"
            yield Finding("clock", WARNING, f"{what}; messages have the old time", "restart relayd when it suits")


def _processes(patient: Patient) -> int:
    return max(1, int(patient.status.get("workers", 1)))


def _swapped_kib(patient: Patient, pid: int | str) -> int:
    lines = patient.text(f"proc/{pid}/status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmSwap:")), 0)


def _swap_max(patient: Patient) -> str:
    """What the control group (version 2) allows."""
    groups = patient.text(f"proc/{patient.status['pid']}/cgroup").splitlines()
    own = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), "")
    return patient.text(f"sys/fs/cgroup/{own}/memory.swap.max").strip()


def _too_low(check: str, what: str, setting: str) -> Finding:
    return Finding(check, WARNING, what, _sysctl(setting))


def _sysctl(setting: str) -> str:
    return f"sysctl -w {setting} (to last: a line in /etc/sysctl.d/relayd.conf)"
