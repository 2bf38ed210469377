"""Where things are unless they were put elsewhere; apart from the settings, so that it costs a command nothing."""

from __future__ import annotations

from collections.abc import Mapping

SERVICE_CONTROL = "/run/relayd/control.sock"


def default_control(environment: Mapping[str, str]) -> str:
    """Where the control socket is unless it was set: the user's runtime directory, or the service's."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    return f"{runtime}/relayd/control.sock" if runtime else SERVICE_CONTROL
