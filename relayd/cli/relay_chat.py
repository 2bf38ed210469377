"""The chat of `relay join` without its screen: events become lines, what is typed becomes things done."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from relayd.cli.relay_chat_files import ChatFiles, NotDone
from relayd.cli.relay_moderation import MODERATION
from relayd.cli.relay_notices import Notices, called, label
from relayd.cli.relay_text import safe_lines, safe_nick
from relayd.cli.relay_wrap import INDENT, Entry, Fragment, Line
from relayd.client import (
    ClientError,
    Event,
    FileOffered,
    Knocking,
    Message,
    MessageRemoved,
    Rekeyed,
    Room,
    RoomUpdated,
    Signal,
    User,
    UserChanged,
    UserJoined,
    UserLeft,
)
from relayd.errors import RelayError
from relayd.wire.sealing_text import SealingError

MOST_LINES: Final = 5000  # kept to scroll back; what falls out is gone for good
TYPING_SHOWN_S: Final = 6.0  # told anew every three seconds

_COLOURS: Final = "ansired ansigreen ansiyellow ansiblue ansimagenta ansicyan ansibrightred ansibrightgreen \
ansibrightyellow ansibrightblue ansibrightmagenta ansibrightcyan".split()
_NOTE: Final = "class:note"
_WARN: Final = "class:warn"


def colour_of(user: User) -> str:
    """The colour of a user's name: the same on every screen, hanging on the key where there is one."""
    digest = hashlib.sha256(user.key or user.id.encode()).digest()
    return _COLOURS[digest[0] % len(_COLOURS)]


class _Said(NamedTuple):
    """A text that can be replied to, edited or taken back."""

    entry: Entry
    head: Line
    snippet: str
    seq: int | None
    user_id: str


def is_command(text: str) -> bool:
    """Whether it is a command and not something to be said: a space before `/msg` must not make a secret public."""
    line = text.lstrip()
    return line.startswith("/") and not line.startswith("//")


class Chat:
    """One room on one screen.

    Args:
        room: entered.
        changed: called when there is something new to be shown.
        directory: where files go.
        take_all: whether files are taken without asking.
    """

    def __init__(
        self, room: Room, changed: Callable[[], None], directory: Path = Path(), *, take_all: bool = False
    ) -> None:
        self.room = room
        self.lines: deque[Entry] = deque(maxlen=MOST_LINES)
        self.leaving = False
        self.unsaid = 0  # messages typed here that the server has not acknowledged
        self._changed = changed
        self._notices = Notices()
        self._said: dict[tuple[str, str], _Said] = {}  # (author, id) -> what replies, edits and the like may name
        self._typing: dict[str, float] = {}  # user id -> until when that is shown
        self._named_waiting: set[str] = set()  # user ids of those who wait and were told of by name
        self._has_lobby = room.details.settings.get("lobby") is True
        self._tasks: set[asyncio.Task[None]] = set()
        self.files = ChatFiles(room, self._changing_line, changed, directory, take_all=take_all)

    def greet(self) -> None:
        """The first lines."""
        room = self.room
        kind = "sealed: only its members can read it" if room.sealed else "OPEN: the server can read along"
        self.tell(f"{safe_nick(room.details.name)} is {kind}. You are {label(room.me)}. /help lists what you can do.")
        if room.me.is_owner:
            self.tell("You are the owner, in all your terminals here; see --guest.")
        others = [user for user in room.users if user.id != room.me.id]
        if others:
            self.tell("Here: " + ", ".join(label(user) for user in others))

    async def listen(self) -> None:
        """Takes events until the room is left; raises what ends it otherwise."""
        async for event in self.room:
            self.take(event)
            self._changed()

    # What is shown. ---------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Makes lines of an event."""
        handler = self._EVENTS.get(type(event))
        if handler is not None:
            handler(self, event)
        elif (words := self._notices.of(event)) is not None:
            self.tell(words, _WARN)

    def tell(self, text: str, style: str = _NOTE) -> None:
        """A line of the program itself. What others say in it must have been made safe."""
        self._add(Entry([(_NOTE, _clock() + "  "), (style, "* " + text)]))

    def _changing_line(self, text: str) -> Callable[[str], None]:
        """A line as `tell` makes them, and what puts another text into it."""
        head: Fragment = (_NOTE, _clock() + "  ")
        entry = Entry([head, (_NOTE, "* " + text)])
        self._add(entry)
        return lambda now: setattr(entry, "lines", ([head, (_NOTE, "* " + now)],))

    def _add(self, entry: Entry) -> None:
        self.lines.append(entry)

    def typing(self) -> str:
        """Who is typing, in words."""
        now = time.monotonic()
        self._typing = {user_id: until for user_id, until in self._typing.items() if until > now}
        names = [safe_nick(self.room.user(user_id).nick) for user_id in self._typing]
        if not names:
            return ""
        shown = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
        return f"{shown} {'is' if len(names) == 1 else 'are'} typing"

    def state(self) -> str:
        """How things stand, for the bar on top."""
        parts = [safe_nick(self.room.details.name), "sealed" if self.room.sealed else "OPEN"]
        parts.append(f"{self.room.user_count} here")
        if self.room.details.locked:
            parts.append("locked")
        if self.room.details.settings.get("lobby") is True:
            waiting = len(self.room.knocking)
            parts.append(f"lobby: {waiting} waiting" if waiting else "lobby")
        if not self.room.connected:
            parts.append("NOT CONNECTED")
        if self.unsaid:
            parts.append(f"{self.unsaid} on the way")
        return " | ".join(parts)

    def _on_message(self, message: Message) -> None:
        self._typing.pop(message.user.id, None)
        kind = message.body.get("kind", "text") if isinstance(message.body, dict) else "text"
        handler = self._KINDS.get(kind) if isinstance(kind, str) else None
        if handler is not None:
            handler(self, message)
        else:
            shown = f" ({safe_nick(kind)})" if isinstance(kind, str) else ""
            self._add(Entry([*self._head(message), (_NOTE, f"[something this client cannot show{shown}]")]))

    def _head(self, message: Message) -> Line:
        user = message.user
        head = [(_NOTE, _clock() + "  "), (f"bold {colour_of(user)}", safe_nick(user.nick)), (_NOTE, f"#{user.tag} ")]
        if message.to is not None:
            other = "you" if message.to == self.room.me.id else label(self.room.user(message.to))
            head.append((_WARN, f"(to {other}) "))
        if message.replayed:
            head.append((_WARN, "(a replay of what was said to others) "))
        return head

    def _on_text(self, message: Message) -> None:
        head = self._head(message)
        answered = self._said.get(_named(message.body.get("re"))) if isinstance(message.body, dict) else None
        if answered is not None:
            head.append((_NOTE, f"(to “{answered.snippet}”) "))
        entry = Entry(*_text_lines(head, message.text))
        self._add(entry)
        self._said[message.author, message.id] = _Said(
            entry, head, safe_nick(message.text), message.seq, message.user.id
        )
        if len(self._said) > MOST_LINES:
            del self._said[next(iter(self._said))]

    def _on_reaction(self, message: Message) -> None:
        said = self._said.get(_named(message.body.get("re")))
        if said is not None:
            what, taken_back = safe_nick(str(message.body.get("emoji", "?"))), message.body.get("on") is False
            verb = f"takes back {what} for" if taken_back else f"reacts {what} to"
            self.tell(f"{label(message.user)} {verb} “{said.snippet}”")

    def _on_edit(self, message: Message) -> None:
        said = self._own_words(message)
        text = message.body.get("text")
        if said is not None and isinstance(text, str):
            said.entry.lines = tuple(_text_lines([*said.head, (_NOTE, "(edited) ")], text))
            self._said[_named(message.body["re"])] = said._replace(snippet=safe_nick(text))

    def _on_delete(self, message: Message) -> None:
        said = self._own_words(message)
        if said is not None:
            said.entry.lines = ([*said.head, (_NOTE, "[taken back]")],)

    def _on_removed(self, event: MessageRemoved) -> None:
        for said in self._said.values():
            if said.seq == event.seq:
                said.entry.lines = ([*said.head, (_NOTE, f"[removed by {label(event.by)}]")],)

    def last_seq_of(self, user: User) -> int | None:
        """The place of the last text that the user has sent to everyone, of those shown here; None if there is none."""
        seqs = (said.seq for said in reversed(self._said.values()) if said.user_id == user.id)
        return next((seq for seq in seqs if seq is not None), None)

    def _own_words(self, message: Message) -> _Said | None:
        """What an edit or deletion names, if its author is the one of this."""
        name = _named(message.body.get("re"))
        return self._said.get(name) if name[0] == message.author else None

    def _on_signal(self, signal: Signal) -> None:
        if signal.kind != "typing" or signal.user.id == self.room.me.id:
            return
        if signal.data is False:
            self._typing.pop(signal.user.id, None)
        else:
            self._typing[signal.user.id] = time.monotonic() + TYPING_SHOWN_S

    def _on_changed(self, event: UserChanged) -> None:
        before, user = event.before, event.user
        if before.nick != user.nick:
            self.tell(f"{label(before)} is now {label(user)}" if before.nick else f"that is {label(user)}")
        elif before.key and before.key != user.key:
            self.tell(f"{label(user)} shows another key: rightly so on another device; else compare /code", _WARN)
        if before.role != user.role:
            self.tell(f"{label(user)} is {'a moderator now' if user.is_moderator else 'no longer a moderator'}")
        if before.muted != user.muted:
            self.tell(f"{label(user)} {'may only listen now' if user.muted else 'may speak again'}")

    def _on_left(self, event: UserLeft) -> None:
        self._typing.pop(event.user.id, None)
        self.tell(f"{label(event.user)} has gone")

    def _on_knocking(self, event: Knocking) -> None:
        named = {user.id for user in event.users if user.nick}
        for user in event.users:
            if user.id in named - self._named_waiting:
                self.tell(f"{label(user)} waits to be admitted: /admit or /deny {label(user)}", _WARN)
        self._named_waiting = named

    def _on_updated(self, event: RoomUpdated) -> None:
        room = event.room
        self.tell(f"the room is now {safe_nick(room.name)}, for {room.max} people{', locked' if room.locked else ''}")
        has_lobby = room.settings.get("lobby") is True
        if has_lobby != self._has_lobby:
            self._has_lobby = has_lobby
            self.tell("newcomers wait to be admitted from now on" if has_lobby else "newcomers need not wait any more")

    def _on_rekeyed(self, event: Rekeyed) -> None:
        self.tell("the room has new keys; links of before are dead")
        if event.link:
            self.tell(f"the new link: {event.link}")

    _KINDS: ClassVar[dict[str, Callable[..., None]]] = {
        "text": _on_text,
        "reaction": _on_reaction,
        "edit": _on_edit,
        "delete": _on_delete,
    }

    _EVENTS: ClassVar[dict[type, Callable[..., None]]] = {
        Message: _on_message,
        FileOffered: lambda self, event: self.files.on_offered(event),
        Signal: _on_signal,
        UserJoined: lambda self, event: self.tell(f"{label(event.user)} has come"),
        UserLeft: _on_left,
        UserChanged: _on_changed,
        Knocking: _on_knocking,
        RoomUpdated: _on_updated,
        Rekeyed: _on_rekeyed,
        MessageRemoved: _on_removed,
    }

    # What is typed. ---------------------------------------------------------------------------------------------

    def enter(self, text: str) -> None:
        """Does what a line says: a command, or something to be said; `//` says something that begins with `/`."""
        if not text.strip():
            return
        if is_command(text):
            self._do(self._command(text.strip()))
        else:
            self._do(self._say(text.removeprefix("/") if text.startswith("//") else text, None))

    def _do(self, job: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guard(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, job: Awaitable[None]) -> None:
        try:
            await job
        except (NotDone, RelayError, ClientError, SealingError, TimeoutError) as wrong:
            # What ends the room is told when the screen is gone.
            self.tell(" ".join(safe_lines(str(wrong) or "no answer came in time")), _WARN)
        self._changed()

    async def _say(self, text: str, to: User | None) -> None:
        self.unsaid += 1
        try:
            await self.room.say(text, to)
        finally:
            self.unsaid -= 1

    async def _command(self, text: str) -> None:
        word, *rest = text[1:].split(maxsplit=1) or [""]
        command = self.COMMANDS.get(word.lower())
        if command is None:
            raise NotDone(f"there is no /{safe_nick(word)}; /help lists what there is")
        await command[1](self, rest[0] if rest else "")

    def find(self, name: str, *, departed: bool = False) -> User:
        """The user called so: `nick`, `nick#tag` or `#tag`.

        Args:
            departed: if nobody here is called so, look among those who have left.

        Raises:
            NotDone: nobody, or several.
        """
        found = called(name, self.room.users) or (called(name, self.room.departed_users) if departed else [])
        if len(found) == 1 and name.strip():
            return found[0]
        if not found or not name.strip():
            raise NotDone(f"nobody here is called {safe_nick(name)}; /who lists who is here")
        raise NotDone("which one? " + ", ".join(label(user) for user in found))

    async def _nick(self, name: str) -> None:
        if not name:
            raise NotDone("/nick NAME")
        self.room.set_nick(name)

    async def _msg(self, rest: str) -> None:
        name, text = self._name_and_rest(rest)
        if not text:
            raise NotDone("/msg NAME TEXT")
        await self._say(text, self.find(name))

    def _name_and_rest(self, rest: str) -> tuple[str, str]:
        """Names may have spaces: the longest beginning that is somebody's name, else the first word."""
        words = rest.split(" ")
        for count in range(len(words), 0, -1):
            name = " ".join(words[:count])
            if any(name.casefold() in (safe_nick(u.nick).casefold(), label(u).casefold()) for u in self.room.users):
                return name, " ".join(words[count:]).strip()
        return words[0], " ".join(words[1:]).strip()

    async def _who(self, _: str) -> None:
        unconfirmed = {user.id for user in self.room.unconfirmed}
        for user in self.room.users:
            marks = [("you", user.id == self.room.me.id), ("owner", user.is_owner), ("moderator", user.is_moderator)]
            marks += [("away", user.away), ("muted", user.muted), ("no card yet", self.room.sealed and not user.key)]
            marks += [("has not confirmed the new keys", user.id in unconfirmed)]
            told = ", ".join(word for word, is_so in marks if is_so)
            self.tell(label(user) + (f" ({told})" if told else ""))
        for user in self.room.knocking:
            self.tell(f"{label(user)} (waits to be admitted)")

    async def _code(self, name: str) -> None:
        if not self.room.sealed:
            raise NotDone("an open room has no safety codes: the server reads along")
        user = self.find(name) if name else self.room.me
        self.tell(f"room:   {await self.room.room_code()}")
        self.tell(f"{label(user)}: {await self.room.person_code(user)}")
        self.tell("Read both aloud to each other: the room's must be the same, and each theirs as you see it.")

    async def _link(self, _: str) -> None:
        link = self.room.link
        if not link and self.room.me.is_owner:
            link = await self.room.renew_link()
        if not link:
            raise NotDone("the owner made new keys, and has the new link: ask there")
        self.tell(link)

    async def _leave(self, _: str) -> None:
        self.leaving = True

    async def _help(self, _: str) -> None:
        for usage, _handler in self.COMMANDS.values():
            if usage:
                self.tell(usage)
        self.tell("//text says /text; PageUp and PageDown scroll; Ctrl-C leaves")

    COMMANDS: ClassVar[dict[str, tuple[str, Callable[[Any, str], Awaitable[None]]]]] = {
        "nick": ("/nick NAME            be called so", _nick),
        "msg": ("/msg NAME TEXT        say it to one person (or NAME#tag)", _msg),
        "file": ("/file PATH            offer a file to all", lambda chat, path: chat.files.offer(path)),
        "accept": ("/accept [NUMBER]      take that file, or the last one", lambda chat, n: chat.files.accept(n)),
        "cancel": ("/cancel [NUMBER]      end that file, or the last one", lambda chat, n: chat.files.cancel(n)),
        "who": ("/who                  who is here", _who),
        "code": ("/code [NAME]          safety codes, to compare by voice", _code),
        "link": ("/link                 the link of this room", _link),
        **MODERATION,
        "leave": ("/leave                leave the room", _leave),
        "help": ("/help                 this", _help),
    }


def _text_lines(head: Line, text: str) -> list[Line]:
    first, *more = safe_lines(text)
    # Set in, so that no line of a message can pass for one of somebody else.
    return [[*head, ("", first)], *([("", " " * INDENT + line)] for line in more)]


def _named(ref: Any) -> tuple[str, str]:
    """Author and id that a reference names; two empty ones if it is none."""
    if not isinstance(ref, dict):
        return "", ""
    return str(ref.get("by") or ref.get("from") or ""), str(ref.get("id") or "")


def _clock() -> str:
    return time.strftime("%H:%M")
