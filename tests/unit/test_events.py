"""What the server says: the exact JSON of every frame."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from relayd.wire import events

TEXT = st.text(min_size=1, max_size=64)
BODIES = st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.booleans()))


@given(st.integers(0, 2**53), st.integers(0, 2**45), TEXT, BODIES)
def test_message(seq, at_ms, message_id, body):
    raw = json.dumps(body).encode()
    frame = events.message(seq, at_ms, "u_1", message_id, raw)
    assert json.loads(frame) == {
        "type": "message",
        "seq": seq,
        "at": at_ms,
        "from": "u_1",
        "id": message_id,
        "body": body,
    }
    assert frame.endswith(b'"body":%b}' % raw)


@given(st.integers(0, 2**53), st.integers(0, 2**45), TEXT, BODIES)
def test_direct_message(after, at_ms, message_id, body):
    """`to` and `after`, and no `seq`."""
    frame = events.direct_message(after, at_ms, "u_1", "u_2", message_id, json.dumps(body).encode())
    assert json.loads(frame) == {
        "type": "message",
        "after": after,
        "at": at_ms,
        "from": "u_1",
        "to": "u_2",
        "id": message_id,
        "body": body,
    }


def decoded(event: events.Event) -> dict:
    return json.loads(events.encode(event))


def test_signal():
    event = events.SignalEvent("u_1", "typing", Raw(b'{"on":true}'))
    assert decoded(event) == {"type": "signal", "from": "u_1", "kind": "typing", "data": {"on": True}}
    assert decoded(events.SignalEvent("u_1", "read", Raw(b"null"), "u_2"))["to"] == "u_2"


def test_what_is_not_said_is_left_out():
    assert decoded(events.Ok()) == {"type": "ok"}
    assert decoded(events.Ok("1", 7)) == {"type": "ok", "id": "1", "seq": 7}
    assert decoded(events.Pong()) == {"type": "pong"}
    assert decoded(events.Pong("1")) == {"type": "pong", "id": "1"}
    assert decoded(events.Error("muted", "why")) == {"type": "error", "code": "muted", "detail": "why"}
    assert decoded(events.Error("muted", "why", "1", 250))["retry_after_ms"] == 250


def test_room_events():
    assert decoded(events.RoomEvent("expiring", in_=300)) == {"type": "room", "event": "expiring", "in": 300}
    assert decoded(events.RoomEvent("closed", reason="expired")) == {
        "type": "room",
        "event": "closed",
        "reason": "expired",
    }
    assert decoded(events.RoomEvent("announcement", text="t"))["text"] == "t"
    assert decoded(events.RoomEvent("restarting", retry_in_ms=9))["retry_in_ms"] == 9


def test_presence_has_all_its_lists():
    assert decoded(events.Presence([Raw(b'{"id":"u_1"}')], [], [], 4)) == {
        "type": "presence",
        "joined": [{"id": "u_1"}],
        "left": [],
        "changed": [],
        "users": 4,
    }
