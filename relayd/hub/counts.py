"""What the hub counts of those who come and speak, for whoever watches the server."""

from __future__ import annotations

from collections import Counter

_REFUSALS = "no_such_room forbidden room_full locked rate_limited overloaded draining".split()


class Counts:
    """What clients have tried, and what came of it.

    Attributes:
        rooms_ended: by reason.
        joins: that succeeded.
        joins_refused: by error code.
        resumes: of the joins those that asked for what was missed: `recovered` in full, `incomplete`, or `unknown`
            because it was another life of the room.
        refused: what those inside said and was refused, by error code.
        file_bytes: of files, as they came from those who send them.
        files: what receivers said of a file in the end: `received`, or `failed`.
    """

    def __init__(self) -> None:
        self.rooms_ended = Counter(expired=0, terminated=0, empty=0, shutdown=0)
        self.file_bytes = 0
        self.files = Counter(received=0, failed=0)
        self.joins = 0
        # Those that a rule or a picture asks for are there from the start: a rate begins with the second value.
        self.joins_refused = Counter(dict.fromkeys(_REFUSALS, 0))
        self.resumes = Counter(dict.fromkeys(("recovered", "incomplete", "unknown"), 0))
        self.refused = Counter(dict.fromkeys(("rate_limited", "muted", "stale_epoch"), 0))
