"""What `relay` shows: text made safe, rows broken at words, and a chat's lines, without a terminal."""

from __future__ import annotations

import asyncio
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prompt_toolkit.utils import get_cwidth

from relayd.cli.relay_argv import hide_links
from relayd.cli.relay_chat import Chat, NotDone, colour_of
from relayd.cli.relay_notices import Notices
from relayd.cli.relay_text import safe_line, safe_lines, safe_nick
from relayd.cli.relay_wrap import Entry, wrap
from relayd.client import (
    Announcement,
    Disconnected,
    Invite,
    KeysConfirmed,
    Knocking,
    Message,
    MessageRemoved,
    NewKeysMissed,
    OwnerUnconfirmed,
    Reconnected,
    RoomExpiring,
    User,
    UserChanged,
    UsersUnconfirmed,
)
from relayd.client.shapes import InviteShape


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_that_moves_a_cursor_is_left(text):
    for line in [safe_line(text), *safe_lines(text), safe_nick(text)]:
        assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in line)
        assert not any(unicodedata.category(char) == "Cf" and char not in "\u200c\u200d" for char in line)
    assert 1 <= len(safe_nick(text)) <= 24


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x9b31m\x07\x7f\x00", "␛[2J\ufffd31m␇␡␀"),
        ("a\u202eb\u2066c\u200fd\ufeffe\u00adf\U000e0041", "abcdef"),
        ("a\u2028b\u2029c", "a b c"),
        ("👩\u200d👧 क\u200cष", "👩\u200d👧 क\u200cष"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("plain ä 日本", "plain ä 日本"),
    ],
)
def test_what_is_shown_instead(text, shown):
    assert safe_line(text) == shown


@pytest.mark.parametrize(
    ("nick", "shown"),
    [("", "?"), ("\u200d", "?"), ("  a \n b ", "a ␊ b"), ("x" * 99, "x" * 23 + "…"), ("\u202e", "?")],
)
def test_nicks(nick, shown):
    assert safe_nick(nick) == shown


@given(
    st.lists(st.tuples(st.sampled_from(["", "bold"]), st.text("ab 日\u0301", max_size=60)), max_size=4),
    st.integers(4, 90),
)
def test_rows_fit_and_lose_nothing(line, width):
    rows = wrap(line, width)
    assert all(sum(max(0, get_cwidth(char)) for _, text in row for char in text) <= width for row in rows)
    shown = "".join(text for row in rows for _, text in row).replace(" ", "")
    assert shown == "".join(text for _, text in line).replace(" ", "")


def test_rows_break_at_words_and_long_words_where_they_must():
    line = [("", "12:00  ann said a word and another one that is long enough")]
    assert ["".join(text for _, text in row) for row in wrap(line, 30)] == [
        "12:00  ann said a word and",
        "       another one that is",
        "       long enough",
    ]
    link = "x" * 50
    assert "".join("".join(text for _, text in row).strip() for row in wrap([("", link)], 30)) == link


class FakeRoom:
    """As much of a `Room` as a chat looks at."""

    def __init__(self, *users: User, sealed: bool = False) -> None:
        self.users, self.me, self.sealed = list(users), users[0], sealed
        self.user_count, self.connected = len(users), True
        self.departed_users: list[User] = []
        self.link = "https://chat.example/x#old"
        self.details = SimpleNamespace(name="den", locked=False, settings={})
        self.unconfirmed: list[User] = []
        self.knocking: list[User] = []
        self.answered: list[tuple[str, str, bool]] = []
        self.said: list[tuple[str, object]] = []
        self.kicked: list[tuple[str, bool]] = []
        self.nick = ""
        self.done: list[tuple[object, ...]] = []
        self.invite_list: list[InviteShape] = []

    async def mute(self, user: User, *, on: bool = True) -> None:
        self.done.append(("mute", user.nick, on))

    async def promote(self, user: User, *, on: bool = True) -> None:
        self.done.append(("promote", user.nick, on))

    async def remove(self, seq: int) -> None:
        self.done.append(("remove", seq))

    async def create_invite(self, *, uses: int) -> Invite:
        return Invite("i_1", f"https://chat.example/x#for-{uses}")

    async def invites(self) -> list[InviteShape]:
        return self.invite_list

    async def revoke_invite(self, invite_id: str) -> None:
        self.done.append(("revoke", invite_id))

    async def edit(self, **changes: object) -> None:
        self.done.append(("edit", changes))

    def user(self, user_id: str) -> User:
        return next((user for user in self.users if user.id == user_id), User(id=user_id))

    async def say(self, text: str, to: object = None) -> None:
        self.said.append((text, to and to.nick))

    async def renew_link(self) -> str:
        self.link = "https://chat.example/x#new"
        return self.link

    async def kick(self, user: User, *, ban: bool = False) -> None:
        self.kicked.append((user.nick, ban))

    async def admit(self, user: User) -> None:
        self.answered.append(("admit", user.id, False))

    async def deny(self, user: User, *, ban: bool = False) -> None:
        self.answered.append(("deny", user.id, ban))

    def set_nick(self, nick: str) -> None:
        self.nick = nick


ANN, BOB, BOB2, AL = (
    User(id=f"u_{n}{n}{n}{n}", nick=nick) for n, nick in ((1, "ann"), (2, "bob"), (3, "Bob"), (4, "al b"))
)


@pytest.fixture
def chat():
    return Chat(FakeRoom(ANN, BOB, BOB2, AL), lambda: None)


def shown(chat: Chat) -> list[str]:
    return ["".join(text for _, text in line)[7:] for entry in chat.lines for line in entry.lines]


async def typed(chat: Chat, text: str) -> None:
    chat.enter(text)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def message(user: User, body: object, id_: str = "x", **fields: object) -> Message:
    return Message(user=user, id=id_, body=body, t_ms=0, **fields)


async def test_keys_that_are_not_confirmed_are_shown(chat):
    """As lines when it happens, and in `/who` as long as it lasts."""
    chat.room.unconfirmed = [BOB]
    chat.take(UsersUnconfirmed([BOB, BOB2]))
    chat.take(OwnerUnconfirmed(6))
    chat.take(KeysConfirmed())
    chat.take(NewKeysMissed())
    await typed(chat, "/who")
    lines = shown(chat)
    assert "not confirmed the new keys: bob#2222, Bob#3333." in lines[0]
    assert "not confirmed these keys for 6 minutes" in lines[1]
    assert "the owner has confirmed the keys" in lines[2]
    assert "new keys that did not reach you" in lines[3]
    assert [line for line in lines[4:] if "has not confirmed" in line] == [
        "* bob#2222 (has not confirmed the new keys)"
    ]
    many = [User(id=f"u_{n:016x}", nick="x") for n in range(500)]
    chat.take(UsersUnconfirmed(many))
    assert "and 490 more" in shown(chat)[-1]


async def test_commands(chat):
    await typed(chat, "hello")
    await typed(chat, "//not a command")
    await typed(chat, "/msg al b psst")
    await typed(chat, "/msg BOB#2222 you there")
    await typed(chat, "/kick bob#3333 ban")
    await typed(chat, "/NICK anna")
    await typed(chat, "   ")
    await typed(chat, "  /msg al b a secret")  # a space slips in easily
    await typed(chat, "\u00a0/MSG\tal b another")
    await typed(chat, " //srv")
    assert chat.room.said == [
        ("hello", None), ("/not a command", None), ("psst", "al b"), ("you there", "bob"),
        ("a secret", "al b"), ("another", "al b"), (" //srv", None),
    ]  # fmt: skip
    assert chat.room.kicked == [("Bob", True)]
    assert chat.room.nick == "anna"
    assert shown(chat) == []


@pytest.mark.parametrize(
    ("known", "role", "says"),
    [
        (True, "member", "https://chat.example/x#old"),
        (False, "member", "the owner made new keys, and has the new link"),
        (False, "owner", "https://chat.example/x#new"),
    ],
)
async def test_link(chat, known, role, says):
    """After new keys only the client that made them knows the link; another one of the owner's makes a new one."""
    chat.room.me = replace(ANN, role=role)
    chat.room.link = chat.room.link if known else ""
    await typed(chat, "/link")
    assert says in shown(chat)[-1]


async def test_kick_reaches_those_who_have_left(chat):
    """But not before somebody who is here, and only kick: nothing is said to somebody who is gone."""
    chat.room.departed_users = [User(id="u_5555", nick="eve"), User(id="u_6666", nick="al b")]
    await typed(chat, "/kick eve ban")
    await typed(chat, "/kick al b")
    await typed(chat, "/kick al b#6666 ban")
    assert chat.room.kicked == [("eve", True), ("al b", False), ("al b", True)]
    await typed(chat, "/msg eve hi")
    assert chat.room.said == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/msg bob hi", "which one? bob#2222, Bob#3333"),
        ("/msg nobody hi", "nobody here is called nobody"),
        ("/msg", "nobody here|/msg NAME TEXT"),
        ("/kick", "nobody here"),
        ("/nick", "/nick NAME"),
        ("/\x1b[31m", "there is no /␛[31m"),
        ("/code", "an open room has no safety codes"),
        ("/film x", "there is no /film"),
        (" / ", "there is no /"),
    ],
)
async def test_commands_that_are_wrong(chat, text, says):
    await typed(chat, text)
    assert any(one in shown(chat)[-1] for one in says.split("|"))
    assert chat.room.said == []


async def test_help_names_every_command_and_fits_the_screen(chat):
    await typed(chat, "/help")
    text = shown(chat)
    assert all(any(f"/{word}" in line for line in text) for word in Chat.COMMANDS)
    assert max(len(line) for line in text) + 7 <= 80
    assert len(text) <= 20


async def test_moderation_commands(chat):
    """Each does one thing to the user who is named; wrong input is told, and nothing is done."""
    chat.take(message(BOB, "one", "m1", seq=4))
    chat.take(message(BOB, "two", "m2", seq=5))
    chat.take(message(BOB, "private", "m3", to=ANN.id))
    for line in (
        "/mute bob#2222",
        "/unmute bob#2222",
        "/promote bob#2222",
        "/demote bob#2222",
        "/remove bob#2222",
        "/slow 30",
        "/lock",
        "/unlock",
    ):
        await typed(chat, line)
    assert chat.room.done == [
        ("mute", "bob", True),
        ("mute", "bob", False),
        ("promote", "bob", True),
        ("promote", "bob", False),
        ("remove", 5),
        ("edit", {"settings": {"slow": 30}}),
        ("edit", {"locked": True}),
        ("edit", {"locked": False}),
    ]
    await typed(chat, "/invite")
    await typed(chat, "/invite 5")
    assert shown(chat)[-2:] == [
        "* lets 1 person in: https://chat.example/x#for-1",
        "* lets 5 people in: https://chat.example/x#for-5",
    ]
    await typed(chat, "/invites")
    assert shown(chat)[-1] == "* no invites but the room's own link"
    chat.room.invite_list = [
        InviteShape("i_1", 2, 1, 59.6, "for \x1b[1mcem"),
        InviteShape("i_2"),
    ]
    await typed(chat, "/invites")
    assert shown(chat)[-2:] == [
        "* i_1 (for ␛[1mcem): 1 of 2 uses left, for 60 s",
        "* i_2: any number of uses",
    ]
    await typed(chat, "/revoke i_1")
    assert chat.room.done.pop() == ("revoke", "i_1")
    for line in ("/revoke", "/invite all", "/remove ann", "/slow soon", "/slow", "/promote", "/mute nobody"):
        await typed(chat, line)
    assert len(chat.room.done) == 8


async def test_removed_messages(chat):
    """The line stays, without its text; a message that is not shown here is no mistake."""
    chat.take(message(BOB, "one", "m1", seq=4))
    chat.take(message(BOB, "two", "m2", seq=5))
    chat.take(MessageRemoved(5, ANN))
    chat.take(MessageRemoved(99, ANN))
    assert shown(chat) == ["bob#2222 one", "bob#2222 [removed by ann#1111]"]


async def test_edits_and_deletions_count_from_their_author_only(chat):
    chat.take(message(ANN, {"kind": "text", "text": "helo"}, "m1"))
    ref = {"from": ANN.id, "id": "m1"}
    chat.take(message(BOB, {"kind": "edit", "re": ref, "text": "I am a fool"}))
    chat.take(message(BOB, {"kind": "delete", "re": ref}))
    chat.take(message(ANN, {"kind": "edit", "re": {"id": ["m1"]}, "text": "?"}))
    assert shown(chat) == ["ann#1111 helo"]
    chat.take(message(ANN, {"kind": "edit", "re": ref, "text": "hello\nworld"}))
    assert shown(chat) == ["ann#1111 (edited) hello", "world"]
    chat.take(message(BOB, {"kind": "text", "text": "hi", "re": ref}))
    chat.take(message(BOB, {"kind": "reaction", "re": ref, "emoji": "\x1b👍"}))
    assert shown(chat)[2:] == [
        "bob#2222 (to “hello ␊ world”) hi".replace(" ␊ ", "␊"),
        "* bob#2222 reacts ␛👍 to “hello␊world”",
    ]
    chat.take(message(ANN, {"kind": "delete", "re": ref}))
    assert shown(chat)[0] == "ann#1111 [taken back]"


@pytest.mark.parametrize(
    "body",
    [None, 7, [], {}, {"kind": 7}, {"kind": "\x1b[31m"}, {"text": 7}, {"kind": "edit"}, {"kind": "reaction", "re": 7},
     {"kind": "delete", "re": {"from": {}, "id": []}}, {"kind": "text", "text": "x", "re": []}, {"kind": "file"}],
)  # fmt: skip
async def test_bodies_of_every_kind_are_survived(chat, body):
    chat.take(message(BOB, body))
    assert all("\x1b" not in line for line in shown(chat))


async def test_a_message_is_safe_and_its_further_lines_are_set_in(chat):
    mallory = User(id="u_9999", nick="ann\x1b[1m\u202e")
    chat.take(message(mallory, "one\x1b[2J\nbob#2222 two", to=ANN.id, replayed=True))
    first, second = shown(chat)
    assert first == "ann␛[1m#9999 (to you) (a replay of what was said to others) one␛[2J"
    assert second == "bob#2222 two"
    assert chat.lines[0].lines[1][0][1].startswith(" " * 7)


async def test_who_changes_is_told(chat):
    other = User(id=BOB.id, nick="rob", muted=True)
    chat.take(UserChanged(BOB, other))
    chat.take(UserChanged(User(id="u_5", nick="eve", key=b"1" * 32), User(id="u_5", nick="eve", key=b"2" * 32)))
    assert shown(chat)[:2] == ["* bob#2222 is now rob#2222", "* rob#2222 may only listen now"]
    assert "shows another key" in shown(chat)[2]


def test_colours_hang_on_the_key():
    assert colour_of(User(id="u_1", key=b"k" * 32)) == colour_of(User(id="u_2", key=b"k" * 32))
    assert len({colour_of(User(id=f"u_{n}")) for n in range(100)}) == 12


def test_find_needs_a_name(chat):
    with pytest.raises(NotDone):
        chat.find("#")
    assert chat.find("@AL B") is AL


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Disconnected("the connection was lost", 3.2), "the connection was lost; trying again until it works"),
        (Reconnected(recovered=True, missed=0), "connected again"),
        (Reconnected(recovered=False, missed=5), "connected again; 5 messages were lost"),
        (Reconnected(recovered=False, missed=0), "connected again; some of what was said may be lost"),
        (RoomExpiring(300), "the room ends in 5 min"),
        (RoomExpiring(60), "the room ends in 60 s"),
        (Announcement("down\x1b[2J\nat nine"), "the server's admin says: down␛[2J at nine"),
    ],
)
def test_notices(event, words):
    assert Notices().of(event) == words


def test_a_lost_connection_is_told_once():
    notices = Notices()
    lost, back, ending = Disconnected("lost", 1), Reconnected(recovered=True, missed=0), RoomExpiring(60)
    told = [notices.of(event) is not None for event in (lost, lost, ending, lost, back, lost)]
    assert told == [True, False, True, False, True, True]


def test_rows_are_made_anew_for_another_width_or_text():
    entry = Entry([("", "some words to wrap")])
    assert len(entry.rows(80)) == 1
    assert len(entry.rows(10)) > 1
    entry.lines = ([("", "short")],)
    assert entry.rows(10) == [[("", ""), ("", "short")]] or entry.rows(10) == [[("", "short")]]


def test_hiding_links_leaves_everything_else_alone(tmp_path):
    cmdline = b"python\0relay\0send\0http://h/id#ri_secret.1.more\0text ri_x\0"
    (tmp_path / "cmdline").write_bytes(cmdline)
    (tmp_path / "stat").write_text("7 (a) b) " + " ".join(["0"] * 45 + ["100", str(100 + len(cmdline))] + ["0"] * 3))
    (tmp_path / "mem").write_bytes(b"-" * 100 + cmdline + b"+")
    hide_links(tmp_path)
    assert (tmp_path / "mem").read_bytes() == b"-" * 100 + cmdline.replace(b"ri_secret.1.more", b"*" * 16) + b"+"
    hide_links(tmp_path / "nowhere")


async def test_who_waits_is_told_once_by_name(chat):
    """Not before the card has come, and again only after leaving the lobby; `/who` lists them."""
    nameless = replace(BOB, nick="")
    for users in ([nameless], [BOB], [BOB, AL], [AL], [AL, BOB]):
        chat.take(Knocking(users))
        chat.room.knocking = users
    told = [line for line in shown(chat) if "waits to be admitted" in line]
    assert [line.split(" waits")[0] for line in told] == ["* bob#2222", "* al b#4444", "* bob#2222"]
    await typed(chat, "/who")
    assert shown(chat)[-2:] == ["* al b#4444 (waits to be admitted)", "* bob#2222 (waits to be admitted)"]


async def test_admitting_and_denying(chat):
    """By name or tag, among those who wait only; with namesakes it asks which."""
    chat.room.knocking = [BOB, BOB2]
    chat.room.users = [ANN]
    await typed(chat, "/admit ann")
    assert "nobody called ann waits" in shown(chat)[-1]
    await typed(chat, "/admit")
    assert "nobody called" in shown(chat)[-1]
    await typed(chat, "/admit bob")
    assert shown(chat)[-1].startswith("* which one?")
    await typed(chat, f"/admit bob#{BOB.tag}")
    await typed(chat, f"/deny #{BOB2.tag} ban")
    assert chat.room.answered == [("admit", BOB.id, False), ("deny", BOB2.id, True)]
