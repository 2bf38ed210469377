"""What doctor makes of a machine: files of the kernel's, as they would be there."""

from __future__ import annotations

import msgspec
import pytest

from relayd.cli.doctor import machine
from relayd.cli.doctor.finding import Patient
from relayd.settings import Settings


def limits(core="0", soft=524288, hard=524288):
    """As in /proc/PID/limits."""
    return f"Max core file size   {core}   unlimited   bytes\nMax open files   {soft}   {hard}   files\n"


SYSTEM = {
    "proc/7/limits": limits(),
    "proc/7/task/7/children": "8 ",
    "proc/8/limits": limits(),
    "proc/self/limits": limits(soft=1024, hard=524288),
    "proc/7/status": "VmRSS:\t   9000 kB\nVmSwap:\t       0 kB\n",
    "proc/8/status": "VmSwap:\t       0 kB\n",
    "proc/7/cgroup": "0::/system.slice/relayd.service\n",
    "sys/fs/cgroup/system.slice/relayd.service/memory.swap.max": "0\n",
    "proc/swaps": "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n/dev/sda2  partition\t1000\t0\t-2\n",
    "proc/sys/fs/file-max": "9223372036854775807\n",
    "proc/sys/net/core/somaxconn": "4096\n",
    "proc/sys/net/ipv4/tcp_mem": "100000\t150000\t200000\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/sys/net/netfilter/nf_conntrack_max": "262144\n",
    "proc/sys/net/netfilter/nf_conntrack_count": "1000\n",
    "proc/sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P %u\n",
}
STATUS = {"pid": 7, "workers": 1, "started": "2026-11-22T10:00:00.000Z", "uptime": 1.0}
GROUP = "sys/fs/cgroup/system.slice/relayd.service/memory.swap.max"


def look(tmp_path, check, changed=None, status=STATUS, **settings):
    """What a check finds on a machine that is as it should be but for what has changed; None takes a file away."""
    for path, text in (SYSTEM | (changed or {})).items():
        if text is not None:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
    held = msgspec.to_builtins(Settings()) | settings
    return list(check(Patient("/run/relayd/control.sock", held, status, tmp_path)))


CHECKS = (
    machine.open_files,
    machine.all_files,
    machine.accept_queue,
    machine.tcp_memory,
    machine.ports,
    machine.conntrack,
    machine.swap,
    machine.core_dumps,
)


@pytest.mark.parametrize("check", CHECKS)
def test_a_machine_as_it_should_be(tmp_path, check):
    """Nothing to do."""
    assert [(finding.state, finding.do) for finding in look(tmp_path, check)] == [("ok", "")]


FAULTS = [
    (machine.open_files, {"proc/7/limits": limits(soft=20000, hard=20000)}, "warning", "about 19,872"),
    (
        machine.open_files,
        {"proc/8/limits": limits(soft=1024, hard=1024)},
        "problem",
        "LimitNOFILE=100128",
    ),
    (machine.all_files, {"proc/sys/fs/file-max": "65536\n"}, "warning", "sysctl -w fs.file-max=110000"),
    (machine.accept_queue, {"proc/sys/net/core/somaxconn": "128\n"}, "warning", "sysctl -w net.core.somaxconn=4096"),
    (machine.tcp_memory, {"proc/sys/net/ipv4/tcp_mem": "1\t2\t30000\n"}, "warning", "sysctl -w net.ipv4.tcp_mem="),
    (machine.conntrack, {"proc/sys/net/netfilter/nf_conntrack_max": "65536"}, "warning", "nf_conntrack_max=200000"),
    (machine.conntrack, {"proc/sys/net/netfilter/nf_conntrack_count": "250000"}, "problem", "without a word"),
    (machine.swap, {"proc/8/status": "VmSwap:\t  12 kB\n"}, "problem", "12.0 KiB of relayd's memory are on /dev/sda2"),
    (machine.swap, {GROUP: "max\n"}, "warning", "MemorySwapMax=0"),
    (machine.swap, {GROUP: None, "proc/7/cgroup": None}, "warning", "may get to /dev/sda2"),
    (machine.core_dumps, {"proc/8/limits": limits(core="unlimited")}, "warning", "LimitCORE=0"),
    (
        machine.core_dumps,
        {"proc/sys/kernel/core_pattern": "|/usr/share/apport %p\n"},
        "warning",
        "/usr/share/apport gets",
    ),
]


@pytest.mark.parametrize(("check", "changed", "state", "said"), FAULTS)
def test_faults(tmp_path, check, changed, state, said):
    """Each is told with what to do."""
    (finding,) = look(tmp_path, check, changed)
    assert finding.state == state
    assert finding.do
    assert said in f"{finding.what} {finding.do}"


def test_swap_that_is_no_disk(tmp_path):
    """Compressed memory is memory."""
    swaps = SYSTEM["proc/swaps"].replace("/dev/sda2", "/dev/zram0")
    assert look(tmp_path, machine.swap, {"proc/swaps": swaps, GROUP: "max"})[0].state == "ok"


def test_ports_of_a_proxy(tmp_path):
    """Over TCP they bound the number of clients; a range as wide as can be does for fewer clients."""
    proxies = {"trusted_proxies": ["127.0.0.1"]}
    (finding,) = look(tmp_path, machine.ports, **proxies)
    assert (finding.state, "28,232" in finding.what) == ("warning", True)
    few = {"limits": msgspec.to_builtins(Settings().limits) | {"max_connections": 20_000}}
    assert look(tmp_path, machine.ports, **proxies, **few)[0].state == "ok"


def test_without_relayd(tmp_path):
    """The limit is that which relayd would raise itself to; nothing is said of memory that is not there."""
    assert look(tmp_path, machine.open_files, status={})[0].state == "ok"
    low = {"proc/self/limits": limits(soft=1024, hard=4096)}
    assert "4,096" in look(tmp_path, machine.open_files, low, status={})[0].what
    assert look(tmp_path, machine.swap, status={}) == look(tmp_path, machine.core_dumps, status={}) == []


def test_where_the_kernel_says_nothing(tmp_path):
    """In a container some of its files are not there: no finding, and no failure."""
    nothing = dict.fromkeys(SYSTEM)
    found = [finding for check in CHECKS for finding in look(tmp_path, check, nothing)]
    assert {finding.state for finding in found} == {"ok"}


def test_a_clock_that_was_set(tmp_path):
    """Messages carry the time as relayd counts it on, so an admin should know."""
    found = look(tmp_path, machine.clock)
    assert [finding.check for finding in found] == ["clock", "clock"]
    assert "was set forward" in found[1].what
