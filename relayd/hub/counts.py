"""What the hub counts of those who come and speak, for whoever watches the server."""

from __future__ import annotations

from collections import Counter

_REFUSALS = "no_such_room forbidden room_full locked rate_limited overloaded draining".split()


class Counts:
    """What clients have tried, and what came of it.

    Attributes:
        joins: that succeeded.
        joins_refused: by error code.
        resumes: of the joins those that asked for what was missed: `recovered` in full, `incomplete`, or `unknown`
            because it was another life of the room.
        refused: what those inside said and was refused, by error code.
    """

    def __init__(self) -> None:
        self.joins = 0
        # Those that a rule or a picture asks for are there from the start: a rate begins with the second value.
        self.joins_refused = Counter(dict.fromkeys(_REFUSALS, 0))
        self.resumes = Counter(dict.fromkeys(("recovered", "incomplete", "unknown"), 0))
        self.refused = Counter(dict.fromkeys(("rate_limited", "muted", "stale_epoch"), 0))
