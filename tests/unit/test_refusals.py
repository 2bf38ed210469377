"""Refusals: counted, and logged once a minute for each reason and address."""

from __future__ import annotations

import logging

from relayd.gateway.refusals import MAX_KEYS, RefusalCounter
from relayd.hub.origins import Origins
from relayd.rooms import refusals
from relayd.rooms.digests import Digests
from relayd.rooms.refusals import Refusals
from relayd.settings import Settings

ANN, BOB = b"a" * 16, b"b" * 16


def test_one_line_a_minute():
    """The first refusal is logged, then the number of all of a minute; each reason and address by itself."""
    counted = Refusals()
    counted.add("join", "rate_limited", ANN, 0.0)
    assert counted.lines(0.5) == [("join", "rate_limited", ANN, 1)]
    for second in range(1, 59):
        counted.add("join", "rate_limited", ANN, float(second), count=2)
        assert counted.lines(float(second)) == []
    counted.add("join", "forbidden", ANN, 59.0)
    counted.add("join", "rate_limited", BOB, 59.0)
    assert counted.lines(59.0) == [("join", "forbidden", ANN, 1), ("join", "rate_limited", BOB, 1)]
    assert counted.lines(60.5) == [("join", "rate_limited", ANN, 116)]
    assert counted.lines(10_000.0) == []
    assert counted.totals == {("join", "rate_limited"): 118, ("join", "forbidden"): 1}


def test_bounded_lines():
    """However many addresses there are: past the limit they share a line."""
    counted = Refusals()
    for number in range(50_000):
        counted.add("join", "rate_limited", number.to_bytes(16, "big"), 0.0)
    lines = counted.lines(1.0)
    assert len(lines) == refusals.MAX_LINES + 1
    assert sum(line.number for line in lines) == 50_000
    assert lines[-1][2] == b""
    assert len(counted.recent(1.0)) == refusals.MAX_RECENT


def test_recent_is_forgotten():
    counted = Refusals()
    counted.add("join", "rate_limited", ANN, 0.0)
    counted.add("join", "rate_limited", ANN, 299.0)
    counted.add("join", "rate_limited", BOB, 301.0)
    assert counted.recent(400.0) == {ANN: 2, BOB: 1}
    assert counted.recent(601.0) == {BOB: 1}
    assert counted.recent(10_000.0) == {}


def test_bounded_in_a_gateway():
    """Between two reports: past the limit addresses are left out, and nothing is lost of the numbers."""
    counter = RefusalCounter()
    assert counter.take() is None
    for number in range(3 * MAX_KEYS):
        counter.add("join", "rate_limited", f"10.0.{number // 256}.{number % 256}")
    entries = counter.take().entries
    assert len(entries) == MAX_KEYS + 1
    assert sum(count for *_, count in entries) == 3 * MAX_KEYS
    assert counter.take() is None


def origins(*, log_addresses):
    return Origins(Settings(log_addresses=log_addresses), lambda: Digests(b"key"))


def test_log_has_handles(caplog):
    """Without log_addresses no address, anywhere: neither in the line nor in its fields."""
    caplog.set_level(logging.INFO)
    found = origins(log_addresses=False)
    found.refused([("join", "rate_limited", "203.0.113.7", 3), ("head", "malformed", "", 2)], 0.0)
    found.write_lines(0.0)
    name = found.name(found.note("203.0.113.7"))
    assert name.startswith("a_")
    assert caplog.messages == [
        f"refused=join reason=rate_limited from={name} count=3",
        "refused=head reason=malformed from=several count=2",
    ]
    assert "203.0.113" not in repr([record.__dict__ for record in caplog.records])


def test_log_has_addresses(caplog):
    """With log_addresses; once it is off again, no address is known any more."""
    caplog.set_level(logging.INFO)
    found = origins(log_addresses=True)
    found.refused([("join", "rate_limited", "2001:db8::7", 1)], 0.0)
    found.write_lines(0.0)
    assert caplog.messages == ["refused=join reason=rate_limited address=2001:db8::7 count=1"]
    network = found.note("2001:db8::7")
    assert found.name(network) == "2001:db8::7"
    found.change(Settings())
    assert found.name(network).startswith("a_")


def test_no_proxy_is_shown():
    """What is refused to clients that a trusted proxy does not name must not get the proxy banned."""
    found = Origins(Settings(log_addresses=True, trusted_proxies=("unix:", "10.0.0.0/8")), lambda: Digests(b"key"))
    for address, is_shown in (("10.1.2.3", False), ("::ffff:10.1.2.3", False), ("203.0.113.7", True)):
        assert (found.name(found.note(address)) == address) is is_shown
