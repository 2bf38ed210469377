"""What the owner of a room and its moderators type in `relay join` to keep order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from relayd.cli.relay_chat_files import NotDone
from relayd.cli.relay_notices import called, label
from relayd.cli.relay_text import safe_line, safe_nick
from relayd.client import User

if TYPE_CHECKING:
    from relayd.cli.relay_chat import Chat
    from relayd.client.shapes import InviteShape

_WARN: Final = "class:warn"


async def _kick(chat: Chat, rest: str) -> None:
    ban = rest.endswith(" ban")
    user = chat.find(rest.removesuffix(" ban"), departed=True)
    link = await chat.room.kick(user, ban=ban)
    if link is None and chat.room.sealed:
        chat.tell("out, but the room has no new keys: only the client that made it can make them", _WARN)


async def _mute(chat: Chat, name: str) -> None:
    await chat.room.mute(chat.find(name, departed=True))


async def _unmute(chat: Chat, name: str) -> None:
    await chat.room.mute(chat.find(name, departed=True), on=False)


async def _promote(chat: Chat, name: str) -> None:
    await chat.room.promote(chat.find(name, departed=True))


async def _demote(chat: Chat, name: str) -> None:
    await chat.room.promote(chat.find(name, departed=True), on=False)


async def _remove(chat: Chat, name: str) -> None:
    user = chat.find(name, departed=True)
    seq = chat.last_seq_of(user)
    if seq is None:
        raise NotDone("no message of theirs to everyone is shown here")
    await chat.room.remove(seq)


def _find_waiting(chat: Chat, name: str) -> User:
    found = called(name, chat.room.knocking) if name.strip() else []
    if len(found) > 1:
        raise NotDone("which one? " + ", ".join(label(user) for user in found))
    if not found:
        waiting = ", ".join(label(user) for user in chat.room.knocking) or "nobody"
        raise NotDone(f"nobody called {safe_nick(name)} waits to be admitted; those who do: {waiting}")
    return found[0]


async def _admit(chat: Chat, name: str) -> None:
    await chat.room.admit(_find_waiting(chat, name))


async def _deny(chat: Chat, rest: str) -> None:
    ban = rest.endswith(" ban")
    await chat.room.deny(_find_waiting(chat, rest.removesuffix(" ban")), ban=ban)


async def _lobby(chat: Chat, rest: str) -> None:
    if rest not in ("on", "off"):
        raise NotDone("/lobby on, or /lobby off")
    await chat.room.edit(settings={"lobby": rest == "on"})


async def _invite(chat: Chat, uses: str) -> None:
    try:
        number = int(uses or 1)
    except ValueError:
        raise NotDone("/invite [USES]: how many people may use the link") from None
    made = await chat.room.create_invite(uses=number)
    chat.tell(f"lets {number} {'person' if number == 1 else 'people'} in: {made.link}")


def _shown_invite(invite: InviteShape) -> str:
    left = "any number of uses" if invite.uses is None else f"{invite.uses_left} of {invite.uses} uses left"
    ends = "" if invite.expires is None else f", for {invite.expires:.0f} s"
    name = f" ({safe_line(invite.label)})" if invite.label else ""
    return f"{safe_line(invite.id)}{name}: {left}{ends}"


async def _invites(chat: Chat, _: str) -> None:
    invites = await chat.room.invites()
    for invite in invites:
        chat.tell(_shown_invite(invite))
    if not invites:
        chat.tell("no invites but the room's own link")


async def _revoke(chat: Chat, invite_id: str) -> None:
    if not invite_id:
        raise NotDone("/revoke ID: /invites lists them")
    await chat.room.revoke_invite(invite_id)
    chat.tell("the invite lets nobody in any more")


async def _slow(chat: Chat, seconds: str) -> None:
    try:
        wanted = int(seconds)
    except ValueError:
        raise NotDone("/slow SECONDS") from None
    await chat.room.edit(settings={"slow": wanted})


async def _lock(chat: Chat, _: str) -> None:
    await chat.room.edit(locked=True)


async def _unlock(chat: Chat, _: str) -> None:
    await chat.room.edit(locked=False)


async def _close(chat: Chat, _: str) -> None:
    await chat.room.close()


# By name: how it is used, and what does it. Where two are each other's opposite, the first one's line names both.
MODERATION: Final[dict[str, tuple[str, Callable[[Chat, str], Awaitable[None]]]]] = {
    "kick": ("/kick NAME [ban]      moderators: throw out (owner: and change keys)", _kick),
    "mute": ("/mute NAME            moderators: NAME only listens; /unmute NAME", _mute),
    "unmute": ("", _unmute),
    "remove": ("/remove NAME          moderators: remove the last message of NAME", _remove),
    "admit": ("/admit NAME           moderators: let NAME join; /deny NAME [ban]", _admit),
    "deny": ("", _deny),
    "lock": ("/lock                 moderators: let no newcomers in; /unlock", _lock),
    "unlock": ("", _unlock),
    "promote": ("/promote NAME         owner: make NAME a moderator; /demote NAME", _promote),
    "demote": ("", _demote),
    "invite": ("/invite [USES]        owner: a link for so many; /invites, /revoke ID", _invite),
    "invites": ("", _invites),
    "revoke": ("", _revoke),
    "lobby": ("/lobby on|off         owner: newcomers wait to be admitted", _lobby),
    "slow": ("", _slow),
    "close": ("/close                owner: end the room; /slow SECONDS slows it down", _close),
}
