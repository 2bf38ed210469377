"""relayd as a service of a real systemd, booted once for all tests."""

import pytest

from tests.service import nested


@pytest.fixture(scope="session")
def system():
    """A system with relayd installed, which is not started; what a test changes in it stays for the next."""
    if reason := nested.why_not():
        pytest.skip(reason)
    with nested.boot() as system:
        yield system


@pytest.fixture
def service(system):
    """The system with relayd started as it comes; `begin` starts it otherwise."""
    system.begin()
    yield system
    system.end()
