"""The inside of a `Room`: what happens by itself while one is a member, over lost connections and rekeys."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from relayd.client.errors import ClientError, NotConnected, Unconfirmed, Unreachable
from relayd.client.events import Disconnected, Event, Missed, Reconnected, Rekeyed, RekeyRefused
from relayd.client.files.desk import Files
from relayd.client.files.line import Bell
from relayd.client.hearing import Hearing
from relayd.client.invites import Invite
from relayd.client.key_checks import KeyChecks
from relayd.client.outbox import NOT_SENT, Outbox, Pending, Receipt, new_id
from relayd.client.rest import Rest
from relayd.client.seal.link import Link, ShareLink
from relayd.client.seal.rekey import NewEpoch
from relayd.client.sealed_voice import SealedVoice
from relayd.client.sealing_errors import RekeyError
from relayd.client.shapes import (
    AnyFrame,
    ErrorFrame,
    FileFrame,
    InviteShape,
    JoinedFrame,
    MessageFrame,
    OkFrame,
    PresenceFrame,
    RoomDetails,
    RoomFrame,
    WaitingFrame,
)
from relayd.client.stream import Back, Lost, Stream
from relayd.client.voice import Voice
from relayd.errors import Muted, ProtocolViolation, RelayError, StaleEpoch, TooLarge, by_code
from relayd.wire.sealing_text import Redacted, SealingError

MOST_EVENTS: Final = 1024  # told and not taken; past it (16 of it beside files) the server is not read from
SHOWN_S: Final = 2.0  # for the server to take name or card, one attempt that is refused included
CARD_RETRY_S: Final = 1.0  # before a refused card is sent again, if the server names no time
STALE_TIMEOUT_S: Final = 10.0  # a new epoch's keys come with the refusal of the old one's

_STALE: Final = "somebody else has made new keys for the room just now: look who is there, and try again"
_CARD: Final = "card"  # the id of `profile` frames
_PAGE: Final = 200  # users in a `joined` frame, and on a page


class Membership(Redacted):
    """One user in one room.

    Args:
        share: the link that was followed.
        rest: of the same server.
        voice: how things are said here.
        key: invite or owner key.
        nick: the name to be shown.
        events: whether events are collected.
        on_waiting: see `join`.
        options: for the stream.
    """

    def __init__(
        self,
        share: ShareLink,
        rest: Rest,
        voice: Voice,
        key: str,
        nick: str,
        *,
        events: bool,
        on_waiting: Callable[[RoomDetails], None] | None = None,
        **options: Any,
    ) -> None:
        # Not the link: its secret would outlive the keys of the epoch.
        self._server, self._room_id, self._invite_key = share.server, share.room_id, share.link.invite_key
        self.voice = voice
        self.nick = nick
        self.me = ""  # the user id
        self.stream = Stream(rest.place, share.room_id, key, self, **options)
        self.hearing = Hearing(voice, self._emit)
        self.keys = KeyChecks(voice, self.hearing, self.stream, self._emit)
        self.error: Exception | None = None
        self.over = False
        self._rest = rest
        self._key = key
        self._outbox = Outbox()
        self._answers: dict[str, asyncio.Future[OkFrame]] = {}  # owner's work on its way, by frame id
        self._events: deque[Event] | None = deque() if events else None
        self._moved = asyncio.Event()  # there is an event to take, or it is over
        self._taken = asyncio.Event()  # there is room for more, or somebody waits for an answer
        self._rekeyed = asyncio.Event()
        self._makes_keys = False  # this client has asked for new keys, and the answer has the new invite key
        self._joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_waiting = on_waiting
        self._has_waited = False  # on the present connection, to be admitted
        self._caught_up = False  # the present connection has delivered everything missed before it
        self._card_taken = False  # the server has accepted this connection's card of the present epoch
        self._muted = False  # it has refused that card because this user is muted
        self._back: Back  # how the present connection began
        self._recovered = False
        self._shown = asyncio.Event()  # the server has name or card as they are now
        self._said = False  # anything at all
        self._all_known = asyncio.Event()
        self._all_known.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connected = Bell()
        self.back_at = -math.inf
        self.files = Files(self)

    async def start(self) -> None:
        """Joins. Raises what `Stream.run` does if that fails."""
        self._do(self._run())
        await self._joined

    async def stop(self) -> None:
        """Leaves; but not before the server can tell the others who it was that said something."""
        if self._said and not self.over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHOWN_S):
                    await self._shown.wait()
        self.end(None)
        await self.files.wait_closed()
        await self.stream.leave()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        try:
            await self.stream.run(self._join_fields)
        except (RelayError, ClientError, SealingError) as error:
            self.end(error)
        except Exception:
            self.end(ClientError("this client has failed"))
            raise

    def _do(self, job: Any) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _join_fields(self) -> dict[str, Any]:
        self._has_waited = False
        fields = {"proof": self.voice.proof(), "profile": self.voice.join_profile(self.nick)}
        return {name: value for name, value in fields.items() if value}

    def end(self, error: Exception | None) -> None:
        """It is over, with an error or because this user has left."""
        if self.over:
            return
        self.hearing.close()
        self.keys.close()
        self.over, self.error, self._caught_up = True, error, False
        told = error or Unreachable("the room was left")
        self._outbox.fail_all(told)
        self._fail_answers(told)
        self.files.end(told)
        if not self._joined.done():
            self._joined.set_exception(told)
        self._moved.set()
        self._taken.set()

    def check(self) -> None:
        """Raises what ended it, if it is over."""
        if self.over:
            raise self.error or Unreachable("the room was left")

    # Events. ----------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        if self._events is not None and not self.over:
            self._events.append(event)
            self._moved.set()

    async def next_event(self) -> Event | None:
        """The next one; None when the room was left. Raises what ended it."""
        if self._events is None:
            raise RuntimeError("this room was joined with events=False")
        while not self._events:
            if self.error is not None:
                raise self.error
            if self.over:
                return None
            self._moved.clear()
            await self._moved.wait()
        self._taken.set()
        return self._events.popleft()

    async def room_for_more(self) -> None:
        """The stream's question. Whoever waits for an answer must hear, however much was told meanwhile."""
        while self._events is not None and len(self._events) >= MOST_EVENTS * (16 if self.files.busy else 1):
            if self._outbox or self._answers or self.over:
                return
            self._taken.clear()
            await self._taken.wait()

    def awaits_answer(self) -> bool:
        """The stream's question."""
        is_ready = self._caught_up and (self._card_taken or self._muted)
        return bool(self._answers or self._outbox) or not is_ready

    # Speaking. --------------------------------------------------------------------------------------------------

    async def say(self, body: Any, to: str | None) -> Receipt:
        """Says it exactly once: `Room.say`."""
        return await self._say(self._outbox.add(body, to, int(time.time() * 1000)))

    async def say_offer(self, body: Any, to: str | None, file: dict[str, Any]) -> tuple[Receipt, int]:
        """Says the message that offers a file; its receipt, and the epoch in which it was said."""
        pending = self._outbox.add(body, to, int(time.time() * 1000), file)
        return await self._say(pending), pending.epoch

    async def _say(self, pending: Pending) -> Receipt:
        self._said = True
        try:
            self.check()
            self._transmit(pending)
            self._taken.set()
            return await pending.done
        finally:
            self._outbox.drop(pending)

    def send_profile(self) -> None:
        """Shows the present nick, if there is a connection; if not, that is done on joining."""
        self._shown.clear()
        with contextlib.suppress(NotConnected):
            self.stream.send({"type": "profile", "id": _CARD, "profile": self.voice.profile(self.nick)})

    async def command(self, frame: dict[str, Any]) -> OkFrame:
        """Sends the owner's work and waits for the answer.

        Raises:
            RelayError: refused.
            NotConnected: there is no connection at the moment.
            Unconfirmed: the connection was lost before the answer came.
        """
        self.check()
        frame = {"id": new_id(), **frame}
        answer: asyncio.Future[OkFrame] = asyncio.get_running_loop().create_future()
        self._answers[frame["id"]] = answer
        try:
            self.stream.send(frame)
            self._taken.set()
            return await answer
        finally:
            del self._answers[frame["id"]]

    async def wait_for_users(self) -> None:
        """Returns when the users that did not fit into the answer to the join are known, as far as they can be."""
        await self._all_known.wait()

    async def wait_for_epoch(self, epoch: int) -> None:
        """Returns when that epoch has begun for this client."""
        while self.voice.epoch < epoch:
            self.check()
            self._rekeyed.clear()
            await self._rekeyed.wait()

    async def rekey(self, new: NewEpoch) -> None:
        """Begins an epoch that this client has made, and renews the invite key with it. Raises: as `command`."""
        frame = new.frame("rekey")
        self._makes_keys = True
        try:
            try:
                ok = await self.command(frame | {"renew_invite": True})
            except ProtocolViolation:  # a server that does not know of `renew_invite`
                ok = await self.command(frame)
            await self.wait_for_epoch(new.part.epoch)
        finally:
            self._makes_keys = False
        self._take_invite(ok.invite_key)
        self._emit(Rekeyed(self.voice.epoch, self.link))

    async def renew_invite(self) -> None:
        """Replaces the invite key; takes the owner key. Raises: as `Rest.new_invite`."""
        self.check()
        self._take_invite(await self._rest.new_invite(self._room_id, self._key))

    async def create_invite(self, uses: int | None, expires_s: int | None, label: str) -> Invite:
        """Makes a further invite; takes the owner key. Raises: as `Rest.create_invite`."""
        self.check()
        made = await self._rest.create_invite(self._room_id, self._key, uses=uses, expires_s=expires_s, label=label)
        link = Link(invite_key=made.invite_key)
        if isinstance(self.voice, SealedVoice):
            link = self.voice.link_with(made.invite_key)
        return Invite(made.id, ShareLink(self._server, self._room_id, link).url)

    async def invites(self) -> list[InviteShape]:
        """The invites that still let somebody in; takes the owner key. Raises: as `Rest.invites`."""
        self.check()
        return await self._rest.invites(self._room_id, self._key)

    async def revoke_invite(self, invite_id: str) -> None:
        """Ends one; takes the owner key. Raises: as `Rest.revoke_invite`."""
        self.check()
        await self._rest.revoke_invite(self._room_id, self._key, invite_id)

    def _take_invite(self, invite_key: str | None) -> None:
        if isinstance(self.voice, SealedVoice):
            self.voice.take_invite(invite_key)
        elif invite_key is not None:
            self._invite_key = invite_key

    def _transmit(self, pending: Pending) -> None:
        """Send a message if everyone can read it; else it is sent when they can."""
        if not (self._caught_up and (self._card_taken or self._muted)) or pending.done.done():
            return
        if not self._card_taken:
            self.send_profile()  # if the mute has ended by now, the card must come first
        said = pending.said
        try:
            more = {name: value for name, value in (("to", said.to), ("file", said.file)) if value is not None}
            self.stream.send({"type": "message", "id": said.id, "body": self.voice.message(said), **more})
        except NotConnected:
            return
        except (SealingError, RelayError, TypeError, ValueError) as error:
            self._outbox.fail(pending, error)
            return
        pending.epoch = self.voice.epoch
        pending.sent_at = pending.sent_at or self.stream.clock()

    def _transmit_waiting(self) -> None:
        """Send the messages that were not sent on this connection, or were sealed in an earlier epoch."""
        for pending in self._outbox.all():
            if pending.epoch < self.voice.epoch:
                self._transmit(pending)

    def _fail_answers(self, error: Exception) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)

    # The stream's calls. ----------------------------------------------------------------------------------------

    def on_waiting(self, waiting: WaitingFrame) -> dict[str, Any] | None:
        """Somebody has to admit this user, and is shown who it is, once the server has shown that it knows the room."""
        self._has_waited = True
        profile = self.voice.knock(waiting.room, self.nick)
        if self._on_waiting is not None:
            self._on_waiting(waiting.room)
        return None if profile is None else {"type": "profile", "profile": profile}

    def on_joined(self, joined: JoinedFrame, back: Back) -> None:
        """In (again): nothing is said before the server has shown that it knows the room."""
        self.voice.welcome(joined, int(time.time() * 1000), has_waited=self._has_waited)
        self.me = joined.you.id
        self._back, self._recovered = back, joined.recovered
        self._shown.set()
        self._card_taken, self._muted = not self.voice.sealed, False
        if self.voice.sealed:
            self.send_profile()
        self.hearing.on_joined(joined, self.voice.join_profile(self.nick))
        if not back.first:
            self._emit(Reconnected(joined.recovered, joined.missed))
            self.back_at = asyncio.get_running_loop().time()
            self.files.on_joined()
            self.connected.ring()
        if joined.room.users > len(joined.users):
            self._all_known.clear()
            self._do(self._fetch_users(joined.users[-1].id if joined.users else ""))

    def on_caught_up(self) -> None:
        """What was missed has come; what is still on its way goes again."""
        place_kept_s = self.hearing.details.settings.get("resume", 0)
        self._outbox.settle(
            self._back,
            recovered=self._recovered,
            place_kept_s=place_kept_s if isinstance(place_kept_s, int | float) else 0.0,
            now=self.stream.clock(),
        )
        self._caught_up = True
        self._transmit_waiting()
        if not self._joined.done():
            self._joined.set_result(None)
            self.keys.start()

    def on_missed(self, count: int) -> None:
        """Some of what was sent did not come, or cannot be read."""
        self._emit(Missed(count))

    def on_lost(self, lost: Lost, retry_in_s: float) -> None:
        """Gone for a moment."""
        self.hearing.on_lost()
        self.keys.on_unready()
        self._caught_up = False
        for pending in self._outbox.all():
            pending.epoch = NOT_SENT
        self._fail_answers(Unconfirmed("the connection was lost before the answer came"))
        if lost.code == TooLarge.close:
            # One of these was the cause, and sending it again would be the next.
            for pending in self._outbox.all():
                if pending.sent_at is not None:
                    self._outbox.fail(pending, TooLarge())
        self.files.on_lost()
        if self.me or not self._has_waited:  # else `on_waiting` tells when it waits again
            self._emit(Disconnected(lost.reason, retry_in_s))

    def on_frame(self, frame: AnyFrame) -> None:
        """Anything the server says."""
        handler = self._HANDLERS.get(type(frame))
        if handler is not None:
            handler(self, frame)
        self.hearing.on_frame(frame, self.stream.seq)
        if isinstance(frame, PresenceFrame):
            self.files.on_presence()

    def on_chunk(self, frame: bytes) -> None:
        """A chunk of a file."""
        self.files.on_chunk(frame)

    def _on_message(self, frame: MessageFrame) -> None:
        pending = self._outbox.get(frame.id) if frame.from_ == self.me else None
        if pending is not None:
            epoch = frame.body.get("e") if isinstance(frame.body, dict) else None
            if self.voice.sealed and isinstance(epoch, int) and 0 <= epoch <= self.voice.epoch:
                pending.epoch = epoch  # of several attempts, the one that was said
            self._outbox.said(frame.id, frame.seq)

    def _on_ok(self, frame: OkFrame) -> None:
        answer = self._answers.get(frame.id or "")
        if answer is not None and not answer.done():
            answer.set_result(frame)
        if frame.id == _CARD:
            self._on_card()
        self._outbox.said(frame.id, frame.seq)

    def _on_error(self, frame: ErrorFrame) -> None:
        retry_s = None if frame.retry_after_ms is None else max(0.0, frame.retry_after_ms / 1000)
        error = by_code(frame.code, retry_after_s=retry_s)
        answer, pending = self._answers.get(frame.id or ""), self._outbox.get(frame.id)
        loop = asyncio.get_running_loop()
        if answer is not None and not answer.done():
            answer.set_exception(error if frame.code != "stale_epoch" else RekeyError(_STALE))
        elif frame.id == _CARD:
            self._on_card_refused(frame.code, retry_s)
        elif pending is not None and frame.code == "stale_epoch":
            self._send_in_new_epoch(pending)
        elif pending is not None and retry_s is not None:
            pending.sent_at = None  # the server has not said it, and nobody has to wonder
            loop.call_later(retry_s, self._transmit, pending)
        elif pending is not None:
            self._outbox.fail(pending, error)
        elif frame.fid is not None:
            self.files.on_error(frame.fid, error)

    def _on_card(self) -> None:
        self._shown.set()
        self._card_taken, self._muted = True, False
        self.keys.on_ready()
        self._transmit_waiting()

    def _on_card_refused(self, code: str, retry_s: float | None) -> None:
        if code == StaleEpoch.code:
            return  # the new keys are on their way, and `_on_room` sends the card then
        asyncio.get_running_loop().call_later(retry_s or CARD_RETRY_S, self.send_profile)
        if code == Muted.code and not self._muted:
            self._muted = True
            self._transmit_waiting()  # the server refuses them too, and their authors must know

    def _send_in_new_epoch(self, pending: Pending) -> None:
        if pending.epoch < self.voice.epoch:
            self._transmit(pending)
            return
        late = RekeyError("the room has new keys, and this client was given none")
        asyncio.get_running_loop().call_later(STALE_TIMEOUT_S, self._fail_if_stale, pending, pending.epoch, late)

    def _fail_if_stale(self, pending: Pending, epoch: int, error: Exception) -> None:
        if self.voice.epoch == epoch:
            self._outbox.fail(pending, error)

    def _on_room(self, frame: RoomFrame) -> None:
        if frame.event != "rekeyed":
            return
        try:
            if not self.voice.take_rekey(frame):
                return
        except SealingError as wrong:
            self._emit(RekeyRefused(str(wrong)))
            return
        self._rekeyed.set()
        self._card_taken = self._muted = False
        self.keys.on_unready()
        self.send_profile()  # waiting messages are sent when it is accepted
        if not self._makes_keys:  # else `rekey` does, when the link is known
            self._emit(Rekeyed(self.voice.epoch, self.link))

    _HANDLERS: ClassVar[dict[type, Callable[..., None]]] = {
        MessageFrame: _on_message,
        OkFrame: _on_ok,
        ErrorFrame: _on_error,
        RoomFrame: _on_room,
        FileFrame: lambda self, frame: self.files.on_frame(frame),
    }

    # Inside. ----------------------------------------------------------------------------------------------------

    @property
    def link(self) -> str:
        """The present link: a secret. "" if new keys were made elsewhere."""
        link = self.voice.link if isinstance(self.voice, SealedVoice) else Link(invite_key=self._invite_key)
        return "" if link is None else ShareLink(self._server, self._room_id, link).url

    async def _fetch_users(self, after: str) -> None:
        """The users that did not fit into the list; without them they show as strangers, no worse."""
        with contextlib.suppress(RelayError, ClientError), contextlib.ExitStack() as stack:
            stack.callback(self._all_known.set)
            # By the session, which is good for it where the invite key has been renewed.
            while page := await self._rest.users(self._room_id, self.stream.session, after):
                self.hearing.on_page(page, self.stream.seq)
                if len(page) < _PAGE or page[-1].id == after:
                    return
                after = page[-1].id
