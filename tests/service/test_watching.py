"""What is told of the service, with all that its unit forbids it."""

METRICS = "relayd-metrics.socket"


def test_metrics(system):
    """relayd-metrics.socket hands in their listener; nothing that they are read from is out of reach."""
    system.systemctl("enable", METRICS)
    try:
        system.begin()
        told = system.run("curl", "-sS", "http://127.0.0.1:9180/metrics").stdout
        for name in "relayd_rooms process_start_time_seconds process_open_fds process_resident_memory_bytes".split():
            assert f"\n{name} " in told
    finally:
        system.systemctl("disable", METRICS)
        system.end()


def test_doctor(service):
    """The unit keeps memory off every disk, and its sockets are where they should be; root sees that from outside."""
    found = service.relayctl("doctor", code=None)
    assert [one for one in found if one["state"] == "problem"] == []
    states = {one["check"]: one["state"] for one in found}
    for check in ("relayd", "load", "settings", "control socket", "groups", "listen", "core dumps", "swap"):
        assert states[check] == "ok", found
