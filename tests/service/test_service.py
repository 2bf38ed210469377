"""The unit as systemd runs it."""


def test_runs(service):
    """It is ready only once it listens; people reach it by TCP and by its Unix socket, admins by theirs."""
    assert service.show("ActiveState") == "active"
    assert service.show("SubState") == "running"
    assert '"ok"' in service.run("curl", "-sS", "http://127.0.0.1:8080/healthz").stdout
    assert '"ok"' in service.run("curl", "-sS", "--unix-socket", "/run/relayd/http.sock", "http://x/healthz").stdout
    status = service.relayctl("status")
    assert status["pid"] == service.main_pid
    assert status["addresses"] == ["http://127.0.0.1:8080", "unix:/run/relayd/http.sock"]
