"""Pages notice a server that withholds new keys: the owner's and the member's."""

from __future__ import annotations

import json

import pytest

from web.companions import companion
from web.person import until
from web.test_engine import BARE, READY, Engine, bare

QUICK = """import('/web/js/room/key-monitor.js').then(({KEY_TIMES}) =>
  void Object.assign(KEY_TIMES, {checkMs: 50, confirmMs: 400, againMs: 400, ownerMs: 1000}))"""
SOON = "import('/web/js/room/key-monitor.js').then(({KEY_TIMES}) => void (KEY_TIMES.userMs = 300))"
LINE = "(event) => until(() => room.state.lines.some(({system}) => system?.event === event))"


async def behind(visitors, withheld) -> Engine:
    """A visitor to whom a server does not pass on the frames for which `withheld` is true."""
    one = await visitors()

    def stand_in(way) -> None:
        server = way.connect_to_server()
        way.on_message(server.send)
        server.on_message(lambda text: None if isinstance(text, str) and withheld(json.loads(text)) else way.send(text))

    await one.page.route_web_socket(lambda url: url.startswith("ws"), stand_in)
    await one.page.goto(one.base + BARE)
    await one.page.evaluate(READY)
    return Engine(one.page)


def is_newer(frame) -> bool:
    """New keys, or something that is sealed with them."""
    sealed = frame.get("body") or frame.get("data") or {}
    return frame.get("event") == "rekeyed" or sealed.get("e", 0) > 0 or frame["type"] == "presence"


@pytest.mark.parametrize("all_newer", [True, False])
async def test_new_keys_that_are_withheld(visitors, all_newer):
    """Eve is removed, and Bob's page is not told: the owner's page shows it, and his own does, too."""
    withholding = []
    bob = await behind(
        visitors,
        lambda frame: withholding and (is_newer(frame) if all_newer else frame.get("event") == "rekeyed"),
    )
    ann = await bare(visitors)
    for engine in (ann, bob):
        await engine(QUICK)
    link = await ann.create()
    await bob.open(link)
    bob_id = await bob("room.state.me")
    async with companion(link, "eve") as eve:
        await ann("(ids) => until(() => ids.every((id) => room.state.users.get(id)?.key))", [bob_id, eve.room.me.id])
        assert await ann("room.state.unconfirmed.size") == 0
        withholding.append(True)
        await ann(SOON)
        await ann("(id) => room.moderation.kick(id, false)", eve.room.me.id)
        await ann(LINE, "users_unconfirmed")
        assert await ann("[...room.state.unconfirmed]") == [bob_id]
        await bob(LINE, "owner_unconfirmed" if all_newer else "keys_missed")


async def test_honest_new_keys_raise_no_alarm(visitors):
    """Everyone confirms, the owner again and again; the warnings of a server that withheld end."""
    withholding = [True]
    bob = await behind(visitors, lambda frame: withholding and frame["type"] == "signal")
    ann = await bare(visitors)
    for engine in (ann, bob):
        await engine(QUICK)
    link = await ann.create()
    await bob.open(link)
    await bob(LINE, "owner_unconfirmed")
    withholding.clear()
    await bob(LINE, "keys_confirmed")
    async with companion(link, "eve") as eve:
        await ann("(id) => until(() => room.state.users.get(id)?.key)", eve.room.me.id)
        await ann("(id) => room.moderation.kick(id, false)", eve.room.me.id)
    for engine in (ann, bob):
        await engine("() => until(() => room.state.lines.some(({system}) => system?.event === 'rekeyed'))")
        await engine("() => until(() => room.state.unconfirmed.size === 0)")
    events = "room.state.lines.map(({system}) => system?.event)"
    assert "users_unconfirmed" not in await ann(events)


async def test_page_and_python_confirm_keys_to_each_other(visitors):
    """A page's confirmations count in the Python client."""
    ann = await bare(visitors)
    await ann(QUICK)
    async with companion(await ann.create(), "bob") as bob:

        async def is_confirmed() -> bool:
            return bob.room._inside.voice.owner_confirmed_at is not None

        await until(is_confirmed, "bob's client has a confirmation")


@pytest.mark.slow
async def test_each_browser_confirms_keys(people):
    """With the times of earnest use: within a quarter of a minute after somebody has come."""
    ann = await people()
    async with companion(await ann.create(), "bob") as bob:

        async def is_confirmed() -> bool:
            return bob.room._inside.voice.owner_confirmed_at is not None

        await until(is_confirmed, "bob's client has a confirmation", 40)
