"""Every chat and command that docs/protocol.md shows, played by real clients on a real daemon."""

import asyncio
import contextlib
import json
import re
import subprocess

import pytest
import websockets
from conftest import relay_with
from fences import DOCUMENTS, Names, fences

from relayd.wire import commands, events

_LINE = re.compile(r"(\w+)([<>]) (.*)|-- (.*)", re.DOTALL)
_QUIET_S = 0.4  # longer than presence is collected for


class Player:
    """Plays a fence of the language `chat`; its people stay for the next one."""

    def __init__(self, base, names):
        self.room_id = ""  # as shown, of the last room that was made
        self._base = base
        self._names = names
        self._people = {}

    async def enter(self, room_id):
        """From now on people join this room; those of another one are gone."""
        if room_id != self.room_id:
            self.room_id = room_id
            await self.close()
            self._people.clear()

    async def play(self, fence):
        for line in re.sub(r"\n +", "", fence.text).splitlines():
            who, direction, text, stage = _LINE.fullmatch(line).groups()
            if stage:
                await self._act(stage)
            elif direction == ">":
                await self._send(who, _bytes(text) or self._names.put_in(text))
            else:
                await self._expect(who, text, fence.place)

    async def _act(self, stage):
        who = stage.split()[0]
        if stage == f"{who} loses the connection":
            self._people.pop(who).transport.abort()
        else:
            assert stage == "a moment later"
            await asyncio.sleep(_QUIET_S)
            for socket in self._people.values():
                with contextlib.suppress(TimeoutError):
                    while True:
                        got = await asyncio.wait_for(socket.recv(), 0.01)
                        assert json.loads(got)["type"] == "presence", got

    async def _send(self, who, text):
        if who not in self._people:
            room_id = self._names.put_in(self.room_id)
            self._people[who] = await websockets.connect(f"{self._base}/{room_id}", compression=None)
        await self._people[who].send(text)

    async def _expect(self, who, text, place):
        closing = re.fullmatch(r"close (\d+) (\w+)", text)
        socket = self._people[who]
        if closing:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert f"{closed.value.rcvd.code} {closed.value.rcvd.reason}" == f"{closing[1]} {closing[2]}", place
            return
        while True:
            got = await asyncio.wait_for(socket.recv(), 5)
            # Told when its time has come, not when it suits who wrote this.
            if isinstance(got, bytes):
                assert got == _bytes(text), place
                return
            if '"type":"presence"' in text or json.loads(got)["type"] != "presence":
                break
        self._names.assert_like(text, got, place)

    async def close(self):
        for socket in self._people.values():
            await socket.close()


def _bytes(text):
    """Those of a binary frame, shown as hexadecimal digits and then text; empty for a text frame."""
    shown = re.fullmatch(r'binary ([0-9a-f ]+) "(.*)"', text)
    return bytes.fromhex(shown[1]) + shown[2].encode() if shown else b""


def _run(command):
    return subprocess.run(["/bin/bash", "-c", command], check=False, capture_output=True, text=True, timeout=20)


async def test_the_protocol_is_as_shown():
    """Each command prints, and each chat goes, what docs/protocol.md says."""
    document = next(one for one in DOCUMENTS if one.name == "protocol.md")
    async with relay_with() as relay:
        names = Names(relay.base)
        player = Player(relay.ws_base, names)
        for fence in fences(document):
            if fence.language == "chat":
                await player.play(fence)
                continue
            assert fence.language == "console", fence.place
            command, _, shown = fence.text.removeprefix("$ ").partition("\n")
            done = await asyncio.to_thread(_run, names.put_in(command))
            assert done.returncode == 0, (fence.place, done.stderr)
            names.assert_like(shown, done.stdout, fence.place)
            if made := re.search(r'"id":"([0-9a-f-]{36})"', shown):
                await player.enter(made[1])
        await player.close()


def _types(union):
    return {kind.__struct_config__.tag for kind in union}


CLIENT_TYPES = _types(commands.Command.__args__)
SERVER_TYPES = {"message", *_types(events.Event.__subclasses__())}


def test_every_frame_type_has_its_row():
    text = next(one for one in DOCUMENTS if one.name == "protocol.md").read_text()
    client = text.split("### What a client says")[1].split("### What the server says")[0]
    server = text.split("### What the server says")[1].split("## Promises")[0]
    assert {name for name in CLIENT_TYPES - {"join"} if f"`{name}`" not in client} == set()
    assert {name for name in SERVER_TYPES if f"`{name}`" not in server} == set()
    assert "| field of `join` |" in text


def test_every_field_of_a_frame_is_named():
    text = next(one for one in DOCUMENTS if one.name == "protocol.md").read_text()
    kinds = (*commands.Command.__args__, *events.Event.__subclasses__(), events.You, events.Rekey)
    fields = {field for kind in kinds for field in kind.__struct_encode_fields__}
    assert {field for field in fields if f"`{field}`" not in text and f'"{field}"' not in text} == set()
