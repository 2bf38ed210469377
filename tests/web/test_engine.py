"""The page's engine without its views: in Chromium, against a real daemon, and beside the Python client."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from random import Random

from conftest import relay_with
from cutter import cutter_before, heard

from relayd.client import Message, Rekeyed, Unreadable, create, join
from web.visitors import Visitor

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors/sealing-vectors.json"
WAIT_S = 45
SECRET = "ZGVmZ2hpamtsbW5vcHFycw"

# A page of the same origin with the same headers, on which nothing else runs.
BARE = "/healthz"
READY = """async () => {
  window.engine = await import("/web/js/room/open.js");
  // The security policy keeps scripts from fetching blob: addresses, so what they stand for is noted here.
  window.blobs = new Map();
  const create = URL.createObjectURL;
  URL.createObjectURL = (blob) => { const url = create.call(URL, blob); blobs.set(url, blob); return url; };
  // The sockets of the page, to say on them what no relay says.
  window.sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...address) { super(...address); sockets.push(this); }
  };
  // The longest of the pauses before it comes back by itself: shorter than a look of `until`, being away went unseen.
  Math.random = () => 0.999;
  window.until = async (condition) => {
    while (!condition()) await new Promise((go) => setTimeout(go, 20));
  };
  window.texts = () => room.state.lines.filter(({kind}) => kind === "text").map(({text}) => text);
}"""


class Engine:
    """One tab with a room and no views."""

    def __init__(self, page) -> None:
        self.page = page

    async def __call__(self, script: str, argument: object = None):
        # Less than pytest gives the whole test: what it breaks off leaves the browser's loop unusable for good.
        async with asyncio.timeout(WAIT_S):
            return await self.page.evaluate(script, argument)

    async def create(self, **options: object) -> str:
        return await self(
            "async (o) => { window.room = await engine.createRoom({nick: 'ann', ...o}); return room.state.link; }",
            options,
        )

    async def open(self, link: str, nick: str = "bob", password: str | None = None) -> None:
        entry = {"link": link, "nick": nick, **({} if password is None else {"password": password})}
        await self("async (entry) => { window.room = await engine.openRoom(entry); }", entry)

    async def problem(self, script: str, argument: object = None) -> str:
        """The code of what it must reject with."""
        return await self(
            f"async (a) => {{ try {{ await ({script})(a); return ''; }} catch (e) {{ return e.code; }} }}", argument
        )

    async def hears(self, *texts: str) -> None:
        await self("(wanted) => until(() => wanted.every((text) => texts().includes(text)))", list(texts))


async def bare(visitors, base: str = "", beside: Visitor | None = None) -> Engine:
    """A visitor's tab without views; `beside` another tab of that visitor."""
    one = beside or await visitors(base=base)
    page = await one.tab() if beside else one.page
    await page.goto(one.base + BARE)
    await page.evaluate(READY)
    return Engine(page)


async def test_vectors_in_chromium(visitors):
    """What holds in Node holds in a browser's WebCrypto, under the page's own content security policy."""
    engine = await bare(visitors)
    check = (HERE / "vectors.js").read_text().replace("export default ", "")
    vectors = json.loads(VECTORS.read_text())
    result = await engine(f"(vectors) => ({check})(vectors, (path) => import('/web/js/' + path))", vectors)
    assert result["wrong"] == []
    assert result["checked"] > 200


async def test_nothing_is_lost_or_doubled_however_often_the_line_is_cut(server, visitors):
    """Two people talk while one's line is cut again and again: both have all of it, once, in one order."""
    seed = Random().randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    random = Random(seed)
    ann = await bare(visitors)
    link = await ann.create()
    async with cutter_before(server.base) as cutter:
        bob = await bare(visitors, cutter.base)
        await bob.open(link.replace(server.base, cutter.base))
        for round_ in range(8):
            cutter.after[random.choice(["up", "down"])] = random.randrange(2500)
            for engine, name in ((ann, "a"), (bob, "b")):
                await engine(
                    "([name, n]) => { for (let i = 0; i < 5; i += 1) room.say(`${name}${5 * n + i}`); }", [name, round_]
                )
            await bob(
                "() => { room.retry(); return until(() => room.state.lines.every(({status}) => status === 'sent')); }"
            )
        cutter.after.clear()
        said = [f"{name}{number}" for name in "ab" for number in range(40)]
        await ann.hears(*said)
        await bob.hears(*said)
        order = await ann("texts()")
        assert sorted(order) == sorted(said)
        assert [text for text in order if text[0] == "b"] == said[40:]
        assert sorted(await bob("texts()")) == sorted(said)
        by_seq = "room.state.lines.filter(({seq}) => seq !== null).sort((x, y) => x.seq - y.seq).map(({text}) => text)"
        ann_order, bob_order = await ann(by_seq), await bob(by_seq)
        assert [text for text in ann_order if text in bob_order] == [text for text in bob_order if text in ann_order]
        assert cutter.connections > 3


async def test_a_dead_line_is_noticed(visitors):
    """A socket that neither closes nor carries anything, as after a sleep: it is given up, and all is made good."""
    ann, bob = await bare(visitors), await bare(visitors)
    await bob.open(await ann.create())
    await bob("""() => {
      const [socket] = sockets;
      socket.send = () => {};
      socket.onmessage = () => {};
      dispatchEvent(new Event("offline"));
    }""")
    await ann("room.say('meanwhile')")
    await bob("() => until(() => room.state.phase === 'away')")
    await bob("room.say('from afar')")
    await bob.hears("meanwhile", "from afar")
    await ann.hears("from afar")
    assert await bob("[room.state.phase, sockets.length]") == ["joined", 2]


async def test_who_says_something_and_leaves_is_heard_by_those_who_are_away(server, visitors):
    """The page comes back, knows who that was, and can open what was said."""
    ann = await bare(visitors)
    link = await ann.create()
    async with cutter_before(server.base) as cutter:
        bob = await bare(visitors, cutter.base)
        await bob.open(link.replace(server.base, cutter.base))
        cutter.refusing = True
        cutter.cut()
        await bob("() => until(() => room.state.phase === 'away')")
        async with join(link, "cem") as cem:
            await cem.say("I was here")
        cutter.refusing = False
        await bob("room.retry()")
        await bob.hears("I was here")
        who = "room.state.lines.filter(({text}) => text === 'I was here').map(({author}) => author.nick)"
        assert await bob(who) == ["cem"]
        assert await bob("room.state.users.size") == 2


async def test_tabs_are_one_person(visitors):
    """Two tabs opened at the same moment are one user with one key; a private message opens in both."""
    ann = await bare(visitors)
    link = await ann.create()
    visitor = await visitors()
    first, second = await bare(visitors, beside=visitor), await bare(visitors, beside=visitor)
    await first.page.evaluate("(link) => { window.opening = engine.openRoom({link, nick: 'bob'}); }", link)
    await second.open(link)
    await first("async () => { window.room = await opening; }")
    assert await first("room.state.me") == await second("room.state.me")
    me = await first("room.state.me")
    await ann("(id) => until(() => room.state.users.get(id)?.key)", me)
    await ann("(to) => room.say('psst', {to})", me)
    await first.hears("psst")
    await second.hears("psst")
    await first("room.say('mine')")
    await second.hears("mine")
    assert await second("room.state.lines.find(({text}) => text === 'mine').mine") is True


async def test_all_programs_and_tabs_of_a_user_are_read(server, visitors):
    """Two programs of the owner that join at once, and four tabs: by pages and programs, newcomers and resumers."""
    made = await create(server.base)
    async with cutter_before(server.base) as cutter, join(made.link, "py") as py:
        here, away = await bare(visitors), await bare(visitors, cutter.base)
        await here.open(made.link, "here")
        await away.open(made.link.replace(server.base, cutter.base), "away")
        cutter.refusing = True
        cutter.cut()
        await away("() => until(() => room.state.phase === 'away')")
        visitor = await visitors()
        tabs = [await bare(visitors, beside=visitor) for _ in range(4)]
        for tab in tabs:
            await tab.open(made.link, "tabs")
        async with join(made.link, "one", owner=made.owner) as one, join(made.link, "two", owner=made.owner) as two:
            texts = ["one", "two", *(f"tab {number}" for number in range(4))]
            for room, text in ((two, "two"), (one, "one")):
                await room.say(text)
            for number, tab in enumerate(tabs):
                await tab("(text) => { room.say(text); }", f"tab {number}")
            await here.hears(*texts)
            cutter.refusing = False
            await away("room.retry()")
            await away.hears(*texts)
            late = await bare(visitors)
            await late.open(made.link, "late")
            async with join(made.link, "late py") as late_py:
                for room in (two, one):
                    await room.say(f"again {room.me.nick}")
                for number, tab in enumerate(tabs):
                    await tab("(text) => { room.say(text); }", f"again {number}")
                again = ["again two", "again one", *(f"again {number}" for number in range(4))]
                for engine in (here, away, late, *tabs):
                    await engine.hears(*again)
                    kinds = await engine("room.state.lines.map(({kind}) => kind)")
                    assert "unreadable" not in kinds
                for room, wanted in ((py, {*texts, *again}), (late_py, set(again))):
                    heard_by = set()
                    while heard_by != wanted:
                        event = await room.__anext__()
                        assert not isinstance(event, Unreadable)
                        if isinstance(event, Message):
                            heard_by.add(event.text)
            # One user, with the name on the newest card; a newcomer has seen no other name.
            renamed = "room.state.lines.filter(({system}) => system?.event === 'renamed').length"
            assert await late(renamed) == 0
            assert await late(
                "[...room.state.users.values()].filter(({role}) => role === 'owner').map(({nick}) => nick)"
            ) == ["two"]


async def test_a_message_whose_card_got_lost_with_the_connection(visitors):
    """A message of an unknown user came last: it waits for the card until the connection is back, however long."""
    async with relay_with(timing__presence_interval=2) as server, cutter_before(server.base) as cutter:
        made = await create(server.base)
        bob = await bare(visitors, cutter.base)
        await bob.open(made.link.replace(server.base, cutter.base))
        async with join(made.link, "cem") as cem:
            await bob("""() => {
              window.came = false;
              sockets[0].addEventListener("message", ({data}) => { came ||= JSON.parse(data).type === "message"; });
            }""")
            await cem.say("first words")
            await bob("() => until(() => came)")
            cutter.refusing = True
            cutter.cut()
            await bob("() => until(() => room.state.phase === 'away')")
            await asyncio.sleep(2)
            cutter.refusing = False
            await bob("room.retry()")
            await bob.hears("first words")
            who = "room.state.lines.filter(({text}) => text === 'first words').map(({author}) => author.nick)"
            assert await bob(who) == ["cem"]


async def test_a_card_that_was_refused_is_shown_when_the_user_may_speak(visitors):
    """Newcomers can read a user who was muted during a rekey."""
    ann, bob = await bare(visitors), await bare(visitors)
    link = await ann.create()
    await bob.open(link)
    bob_id = await bob("room.state.me")
    await ann("(id) => until(() => room.state.users.get(id)?.key)", bob_id)
    await ann("(id) => room.moderation.mute(id, true)", bob_id)
    await bob("() => until(() => room.state.muted)")
    async with join(link, "eve") as eve:
        await ann("(id) => until(() => room.state.users.get(id)?.key)", eve.me.id)
        await ann("(id) => room.moderation.kick(id, false)", eve.me.id)
    async with join(await ann("room.state.link"), "cyd") as cyd:
        await ann("(id) => room.moderation.mute(id, false)", bob_id)
        await bob("() => until(() => !room.state.muted)")
        await bob("room.say('now')")
        assert (await heard(cyd, Message, 30)).text == "now"
        assert cyd.user(bob_id).nick == "bob"


async def test_a_new_invite_is_known_in_all_tabs(visitors):
    """The owner renews it in one tab; the other shows it too, and still does after a reload."""
    owner = await visitors()
    first, second = await bare(visitors, beside=owner), await bare(visitors, beside=owner)
    old = await first.create()
    await second.open(old)
    await first("room.moderation.renewInvite()")
    new = await first("room.state.link")
    await second("(link) => until(() => room.state.link === link)", new)
    await second("room.setNick('anna')")
    await second.page.reload()
    await second.page.evaluate(READY)
    await second.open(old)
    assert await second("room.state.link") == new != old
    bob = await bare(visitors)
    assert await bob.problem("(link) => engine.lookAt(link)", old) == "no_such_room"
    await bob.open(new)


async def test_a_rekey_renews_the_link(visitors):
    """The old one shows nothing of the room any more. All tabs of the owner have the new one, members have none."""
    owner = await visitors()
    ann, tab, bob = await bare(visitors, beside=owner), await bare(visitors, beside=owner), await bare(visitors)
    old = await ann.create()
    await tab.open(old)
    await bob.open(old)
    async with join(old, "eve") as eve:
        await ann("(id) => until(() => room.state.users.get(id)?.key)", eve.me.id)
        await ann("(id) => room.moderation.kick(id, false)", eve.me.id)
    new = await ann("room.state.link")
    assert new != old
    await tab("(link) => until(() => room.state.link === link && !room.state.linkIsOld)", new)
    assert await ann("room.state.linkIsOld") is False
    await bob("() => until(() => room.state.linkIsOld)")
    cyd = await bare(visitors)
    assert await cyd.problem("(link) => engine.lookAt(link)", old) == "no_such_room"
    await cyd.open(new, "cyd")
    assert await cyd("room.state.linkIsOld") is False
    for who, is_old in ((tab, False), (bob, True)):
        await who.page.reload()
        await who.page.evaluate(READY)
        await who.open(new if who is tab else old)
        assert await who("room.state.linkIsOld") is is_old
    await ann("room.moderation.renewInvite()")
    await tab("(link) => until(() => room.state.link !== link)", new)
    assert await tab("room.state.linkIsOld") is False


async def test_a_sealed_link_is_never_taken_down(server, visitors):
    """Where a server shows an open room behind a sealed link, nothing is joined, and nothing said."""
    made = await server.create()
    engine = await bare(visitors)
    link = f"{server.base}/{made['id']}#{made['invite_key']}"
    for marker in (f".1.{SECRET}", f".1p.{SECRET}", ".1p"):
        assert await engine.problem("(link) => engine.lookAt(link)", link + marker) == "downgrade"
        entry = {"link": link + marker, "nick": "bob", "password": "x"}
        assert await engine.problem("(entry) => engine.openRoom(entry)", entry) == "downgrade"
    assert (await server.details(made))["users"] == 0
    # Nor where this device has been in that room when its link was an open one.
    await engine.open(link)
    assert await engine.problem("(link) => engine.lookAt(link)", f"{link}.1.{SECRET}") == "downgrade"
    entry = {"link": f"{link}.1.{SECRET}", "nick": "bob"}
    assert await engine.problem("(entry) => engine.openRoom(entry)", entry) == "downgrade"


async def test_what_is_wrong_has_a_name(server, visitors):
    """Each way in that fails says why, so that a person can act on it."""
    ann, bob = await bare(visitors), await bare(visitors)
    link = await ann.create(password="correct horse", max=2)
    fragment = link.partition("#")[2]
    of_script = (await server.create(password="correct horse"))["link"]
    look = "(link) => engine.lookAt(link)"
    wrong_links = {
        "hello": "link_wrong",
        f"{server.base}/about#{fragment}": "link_wrong",
        link.partition("#")[0]: "link_incomplete",
        link[:-4]: "link_incomplete",
        of_script.rpartition(".")[0]: "link_incomplete",
        of_script.partition(".1p")[0]: "link_incomplete",
        link.replace(".1p.", ".2p."): "unknown_suite",
        link.replace(server.base, "https://elsewhere.example"): "link_elsewhere",
        f"{server.base}/6c1f0d5e-3c1b-4a8e-9d42-0f2b8f6f3a11#{fragment}": "no_such_room",
    }
    for text, code in wrong_links.items():
        assert await bob.problem(look, text) == code, text
    enter = "(entry) => engine.openRoom(entry)"
    assert await bob.problem(enter, {"link": link, "nick": "bob"}) == "password_needed"
    assert await bob.problem(enter, {"link": link, "nick": "bob", "password": ""}) == "password_unfit"
    assert await bob.problem(enter, {"link": link, "nick": "bob", "password": "wrong"}) == "wrong_password"
    incomplete = {"link": of_script.rpartition(".")[0], "nick": "bob", "password": "correct horse"}
    assert await bob.problem(enter, incomplete) == "link_incomplete"
    await (await bare(visitors)).open(of_script, password="correct horse")
    await bob.open(link, password="correct horse")
    carol = await bare(visitors)
    assert await carol.problem(enter, {"link": link, "nick": "carol", "password": "correct horse"}) == "room_full"
    await ann("room.moderation.edit({locked: true, max: 3})")
    assert await carol.problem(enter, {"link": link, "nick": "carol", "password": "correct horse"}) == "locked"
    assert await ann.problem("() => room.say('x'.repeat(70000))") == "too_long"
    assert await bob.problem("() => room.moderation.kick(room.state.details.owner_id, false)") == "owner_only"


async def test_an_old_browser_is_called_that(visitors):
    """Where WebCrypto lacks a curve, making and joining a sealed room say so; what else goes wrong has a code, too."""
    ann, bob = await bare(visitors), await bare(visitors)
    link = await ann.create()
    for error, code in (
        ("new DOMException('', 'NotSupportedError')", "old_browser"),
        ("new TypeError('x')", "internal"),
    ):
        await bob(f"() => {{ crypto.subtle.generateKey = async () => {{ throw {error}; }}; }}")
        assert await bob.problem("() => engine.createRoom({nick: 'bob'})") == code
        assert await bob.problem("(link) => engine.openRoom({link, nick: 'bob'})", link) == code


async def test_page_and_python_client(visitors):
    """A room of a page and a Python client: said, private, answered, edited, thrown out; the codes are the same."""
    ann = await bare(visitors)
    link = await ann.create(password="pw")
    async with join(link, "py", password="pw") as py:
        await ann("() => until(() => [...room.state.users.values()].some(({nick, key}) => nick === 'py' && key))")
        assert " ".join(await ann("room.safetyCode()")) == await py.room_code()
        assert " ".join(await ann("(id) => room.personCode(id)", py.me.id)) == await py.person_code()
        await ann("() => { window.key = room.say('from the page'); }")
        said = await heard(py, Message, 30)
        assert (said.text, said.user.nick) == ("from the page", "ann")
        await py.say({"kind": "text", "text": "an answer", "re": said.ref})
        await py.say({"kind": "reaction", "re": said.ref, "emoji": "👍", "on": True})
        await ann.hears("an answer")
        await ann("() => until(() => room.line(key).reactions.length)")
        assert await ann("room.state.lines.find(({text}) => text === 'an answer').replyTo === key") is True
        await py.say({"kind": "edit", "re": said.ref, "text": "not mine to edit"})
        await py.say("psst", to=said.user)
        await ann.hears("psst")
        assert await ann("[room.line(key).text, room.line(key).edited]") == ["from the page", False]
        await ann("(to) => room.say('psst, too', {to})", py.me.id)
        assert (await heard(py, Message, 30, to=py.me.id)).text == "psst, too"
        await ann("room.edit(key, 'better')")
        edit = await heard(py, Message, 30)
        assert (edit.body["kind"], edit.body["re"], edit.body["text"]) == ("edit", said.ref, "better")
        async with join(link, "eve", password="pw") as eve:
            await ann("() => until(() => [...room.state.users.values()].some(({nick}) => nick === 'eve'))")
            await ann("(id) => room.moderation.kick(id, false)", eve.me.id)
            await heard(py, Rekeyed, 30)
            await ann("room.say('without eve')")
            assert (await heard(py, Message, 30)).text == "without eve"
        # The invite key was renewed with the keys, and a member is not told the new one.
        assert py.link == ""


async def test_what_members_send_is_bounded(visitors):
    """Nicks, emoji, unknown kinds, other people's edits: nothing of it breaks a page or is believed."""
    ann = await bare(visitors)
    link = await ann.create(sealed=False)
    async with join(link, "\u202e" + "a\u0301\u0301\u0301\u0301\u0301\u0301" * 40 + "\n\u0000") as eve:
        await ann("() => until(() => room.state.users.size === 2)")
        nick = await ann("[...room.state.users.values()].find(({me}) => !me).nick")
        assert len(nick) <= 64
        assert not set(nick) & set("\u202e\n\u0000")
        await ann("() => { window.key = room.say('hello'); }")
        said = await heard(eve, Message, 30)
        for body in ({"kind": "edit", "re": said.ref, "text": "forged"}, {"kind": "delete", "re": said.ref}):
            await eve.say(body)
        for number in range(60):
            await eve.say({"kind": "reaction", "re": said.ref, "emoji": f"x{number}", "on": True})
        await eve.say({"kind": "reaction", "re": said.ref, "emoji": "y" * 1000, "on": True})
        odd = [
            None,
            7,
            [],
            {},
            {"kind": 5},
            {"kind": "text"},
            {"kind": "file", "fid": "x"},
            {"kind": "__proto__"},
            {"kind": "toString"},
        ]
        for body in (
            *odd,
            {"kind": "edit", "re": 7, "text": "x"},
            {"kind": "text", "text": "x", "re": {"from": 7}},
            "end",
        ):
            await eve.say(body)
        await ann.hears("end")
        line = await ann(
            "(({text, deleted, edited, reactions}) => [text, deleted, edited, reactions.length])(room.line(key))"
        )
        assert line == ["hello", False, False, 30]
        kinds = await ann("room.state.lines.filter(({mine, kind}) => !mine && kind !== 'system').map(({kind}) => kind)")
        assert kinds == ["unknown"] * len(odd) + ["text", "text"]


async def test_what_does_not_open_is_shown_as_that(visitors):
    """In a sealed room a member's garbage shows as something that did not open, and is never taken for text."""
    ann = await bare(visitors)
    link = await ann.create()
    async with join(link, "eve") as eve:
        await eve.say("good")
        voice = eve._inside.voice
        sealed = voice.message
        voice.message = lambda said: {**sealed(said), "c": "A" * 107}
        await eve.say("never read")
        voice.message = sealed
        await eve.say("good again")
        await ann.hears("good", "good again")
    kinds = await ann("room.state.lines.filter(({kind}) => kind !== 'system').map(({kind, text}) => [kind, text])")
    assert kinds == [["text", "good"], ["unreadable", ""], ["text", "good again"]]


async def test_a_room_that_is_over_is_forgotten(visitors):
    """Those inside hear why it ended; who comes back to it finds no room, and is nobody there."""
    ann, bob = await bare(visitors), await bare(visitors)
    link = await ann.create()
    await bob.open(link)
    await ann("room.moderation.close()")
    await bob("() => until(() => room.state.phase === 'over')")
    assert await bob("[room.state.problem.code, room.state.closedBecause]") == ["room_closed", "terminated"]
    assert await bob.problem("(link) => engine.lookAt(link)", link) == "no_such_room"


async def test_a_text_has_a_limit_that_fits_a_frame(visitors):
    """The longest text goes through, sealed or not, to all or to one; one byte more is refused before it is sent."""
    ann, bob = await bare(visitors), await bare(visitors)
    for sealed, to_all, to_one in ((True, 45_000, 17_000), (False, 64_000, 64_000)):
        await bob.open(await ann.create(sealed=sealed))
        await ann("() => until(() => [...room.state.users.values()].some(({me, nick}) => !me && nick))")
        bob_id = await bob("room.state.me")
        for most, to in ((to_all, None), (to_one, bob_id)):
            say = "([n, to]) => { room.say('x'.repeat(n), to ? {to} : {}); }"
            await ann(say, [most - 2, to])
            assert await ann.problem(say, [most - 1, to]) == "too_long"
        await bob(
            "(sizes) => until(() => sizes.every((n) => texts().some(({length}) => length === n)))",
            [to_all - 2, to_one - 2],
        )
