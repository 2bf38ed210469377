"""The control API against abuse: what is refused to whom, blocked addresses, and whether rooms are created."""

from __future__ import annotations

from typing import ClassVar

from relayd.hub.blocks import Block
from relayd.hub.control.handler import ControlHandler, Verb
from relayd.hub.control.peers import Tier
from relayd.wire import control
from relayd.wire.ids import room_id_text
from relayd.wire.rest import rfc3339


class Limits(ControlHandler):
    """`/v1/limits`."""

    def _read(self) -> None:
        self.write_struct(self.act(self.desk.admin.limits))

    verbs: ClassVar = {"GET": Verb("limits", Tier.OBSERVE, _read)}


class Blocks(ControlHandler):
    """`/v1/blocks`."""

    def _list(self) -> None:
        self.write_struct([_row(block) for block in self.desk.service.closed.blocks])

    def _block(self) -> None:
        asked, service = self.take(control.BlockAddress), self.desk.service
        proxies = service.settings.trusted_proxies
        block = self.act(lambda now: service.closed.block(asked.target, asked.for_s, proxies, now))
        self.write_struct(_row(block), 201)

    verbs: ClassVar = {
        "GET": Verb("list_blocks", Tier.OBSERVE, _list),
        "POST": Verb("block", Tier.OPERATE, _block),
    }


class OneBlock(ControlHandler):
    """`/v1/blocks/<target>`."""

    def _unblock(self, target: str) -> None:
        self.write_struct(_row(self.act(lambda now: self.desk.service.closed.unblock(target))))

    verbs: ClassVar = {"DELETE": Verb("unblock", Tier.OPERATE, _unblock)}


class Freeze(ControlHandler):
    """`/v1/freeze`."""

    def _read(self) -> None:
        since = self.desk.service.closed.frozen_since
        self.write_struct(control.Frozen(since is not None, None if since is None else rfc3339(since)))

    def _freeze(self) -> None:
        self.act(self.desk.service.closed.freeze)
        self._read()

    def _unfreeze(self) -> None:
        self.act(lambda now: self.desk.service.closed.unfreeze())
        self._read()

    verbs: ClassVar = {
        "GET": Verb("frozen", Tier.OBSERVE, _read),
        "POST": Verb("freeze", Tier.OPERATE, _freeze),
        "DELETE": Verb("unfreeze", Tier.OPERATE, _unfreeze),
    }


class Bans(ControlHandler):
    """`/v1/rooms/<room>/bans`."""

    def _list(self, reference: str) -> None:
        room = self.room(reference)
        self.write_struct(control.Bans(room_id_text(room.meta.room_id), self.desk.admin.bans(room)))

    verbs: ClassVar = {"GET": Verb("list_bans", Tier.OBSERVE, _list)}


def _row(block: Block) -> control.BlockRow:
    return control.BlockRow(block.target, rfc3339(block.since), None if block.until is None else rfc3339(block.until))
