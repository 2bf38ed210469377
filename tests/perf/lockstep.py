"""People who speak one after the other, so that a run does the same every time: no message meets another."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct

HANDSHAKE = (
    "GET /{room} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UNLIMITED = {
    "limits.message_rate.user_messages": 1e9,
    "limits.message_rate.user_bytes": 1e12,
    "limits.message_rate.room_messages": 1e9,
    "limits.message_rate.room_bytes": 1e12,
    "limits.message_rate.room_deliveries": 1e12,
}


def frame(**fields: object) -> bytes:
    """A masked text frame of up to 64 KiB, as a client sends it."""
    payload = json.dumps(fields).encode()
    mask = os.urandom(4)
    head = bytes([0x81, 0x80 | len(payload)]) if len(payload) < 126 else struct.pack("!BBH", 0x81, 0xFE, len(payload))
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class Person:
    """One member, on a blocking socket."""

    def __init__(self, port: int, room: dict[str, str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(HANDSHAKE.format(room=room["id"]).encode())
        self.hear(b"\r\n\r\n")
        self._socket.sendall(frame(type="join", key=room["invite_key"], profile={"nick": "ann"}))
        self.hear(b'"joined"')
        self._said = 0

    def say(self, count: int) -> None:
        """So many messages with one system call, so that the server reads them in one turn."""
        self._said += count
        ids = range(self._said - count, self._said)
        self._socket.sendall(b"".join(frame(type="message", id=f"m-{id_}", body={"text": "x" * 100}) for id_ in ids))

    def hear(self, text: bytes, times: int = 1) -> None:
        """Reads until that text has come so often."""
        heard = b""
        while heard.count(text) < times:
            data = self._socket.recv(65536)
            assert data, "the server closed"
            heard += data

    def close(self) -> None:
        self._socket.close()


class Room:
    """A room and its members, all here."""

    def __init__(self, port: int, members: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = json.dumps({"max": members})
        connection.request("POST", "/api/v1/room", body, {"Content-Type": "application/json"})
        self.room = json.loads(connection.getresponse().read())
        connection.close()
        self.people = [Person(port, self.room) for _ in range(members)]

    def talk(self, turns: int, at_once: int) -> int:
        """The first member speaks, everyone hears it, and so on; how many deliveries that made."""
        for _ in range(turns):
            self.people[0].say(at_once)
            for person in self.people:
                person.hear(b'"id":"m-', at_once)
        return turns * at_once * len(self.people)

    def close(self) -> None:
        for person in self.people:
            person.close()
