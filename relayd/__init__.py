"""relayd: throw-away chat rooms on your own server."""

__version__ = "0.1.0"
