"""What is told of the service, with all that its unit forbids it."""

METRICS = "relayd-metrics.socket"


def test_metrics(system):
    """relayd-metrics.socket hands in their listener; nothing that they are read from is out of reach."""
    system.end()
    system.systemctl("start", METRICS)
    try:
        system.begin()
        told = system.run("curl", "-sS", "http://127.0.0.1:9180/metrics").stdout
        for name in "relayd_rooms process_start_time_seconds process_open_fds process_resident_memory_bytes".split():
            assert f"\n{name} " in told
    finally:
        system.systemctl("stop", METRICS)
        system.end()
