"""The Autobahn suite's cases, run by kosoku, against the frame reader and against the relay's own socket."""

from __future__ import annotations

from collections import Counter

import pytest
from conformance.echo import echoing
from kosoku import FailureError, run_fuzzingclient

# 12 and 13 are about permessage-deflate, which is never negotiated: it would prevent sharing frames.
WITHOUT_COMPRESSION = ["12.*", "13.*"]

# The cases that expect no echo before the moment of truth, so that a socket that waits for a join can pass them:
# control frames, violations in the first message, and closing.
BEFORE_A_JOIN = [
    *("2.*", "3.1", "3.5", "3.6", "3.7", "4.1.1", "4.1.2", "4.2.1", "4.2.2", "5.1", "5.2"),
    *("5.9", "5.10", "5.11", "5.12", "5.13", "5.14", "5.16", "5.17", "5.18"),
    *("6.3.*", "6.4.*", "6.8.*", "6.10.*", "6.12.*", "6.13.*", "6.14.*", "6.15.*", "6.16.*", "6.17.*", "6.18.*"),
    *("6.19.*", "6.20.*", "6.21.*", "7.1.2", "7.1.3", "7.1.4", "7.1.5", "7.3.*", "7.5.1", "7.7.*", "7.9.*"),
]


async def run(url: str, **selection):
    """The results of the cases, whether they passed or not.

    Cases have a second for what must not be waited for, and share a loop with messages of 16 MiB: what fails beside
    others counts if it does so alone.
    """
    results = await _run(url, concurrency=8, **selection)
    failed = {result.case_id for result in results if not result.passed}
    if failed and len(results) > len(failed):
        alone = await _run(url, concurrency=1, cases=sorted(failed))
        results = [*(result for result in results if result.passed), *alone]
    return results


async def _run(url: str, **selection):
    try:
        return await run_fuzzingclient(url, **selection)
    except FailureError as failure:
        return failure.results


def summary(results) -> Counter[str]:
    verdicts = Counter(result.behavior.value for result in results)
    verdicts["failed"] = sum(not result.passed for result in results)
    return verdicts


def failures(results) -> dict[str, str]:
    return {result.case_id: f"{result.result} {result.result_close}" for result in results if not result.passed}


async def test_frame_reader_passes_autobahn(capsys):
    """Every case that applies without compression; what is only informational counts as run, not as passed."""
    async with echoing() as url:
        results = await run(url, exclude_cases=WITHOUT_COMPRESSION)
    verdicts = summary(results)
    with capsys.disabled():
        print(f"\nAutobahn, frame reader: {len(results)} cases, {dict(verdicts)}")  # noqa: T201 - the summary is for people
    assert failures(results) == {}
    assert len(results) == 301
    assert verdicts["OK"] >= 294
    # UTF-8 is checked when a message is whole, so a fault in an early fragment is found late: allowed, not ideal.
    late = {result.case_id for result in results if result.behavior.value == "NON-STRICT"}
    assert late <= {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}


async def test_relay_socket_passes_what_needs_no_echo(relay, capsys):
    """The real socket before a join: pings are answered, violations fail it, closing is clean."""
    room = await relay.create()
    results = await run(f"{relay.ws_base}/{room['id']}", cases=BEFORE_A_JOIN)
    with capsys.disabled():
        print(f"\nAutobahn, relay socket: {len(results)} cases, {dict(summary(results))}")  # noqa: T201
    assert failures(results) == {}
    assert len(results) > 100
    assert (await relay.details(room))["connections"] == 0


@pytest.mark.parametrize("case", ["1.1.1", "7.1.1"])
async def test_suite_can_fail(relay, case):
    """What is no echo fails an echo's case: the verdicts above mean something."""
    results = await run(f"{relay.ws_base}/{(await relay.create())['id']}", cases=[case])
    assert list(failures(results)) == [case]
