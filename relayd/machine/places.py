"""Where things are unless they were put elsewhere; apart from the settings, so that it costs a command nothing."""

from __future__ import annotations

from collections.abc import Mapping

SERVICE_CONTROL = "/run/relayd/control.sock"


def default_control(environment: Mapping[str, str]) -> str:
    """Where the control socket is unless it was set: in the user's runtime directory, or the service's."""
    if user := environment.get("XDG_RUNTIME_DIR"):
        return f"{user}/relayd/control.sock"
    # RuntimeDirectory= of a unit (systemd.exec(5)): where the service may write, if its socket unit is not there.
    service = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return f"{service}/control.sock" if service else SERVICE_CONTROL
