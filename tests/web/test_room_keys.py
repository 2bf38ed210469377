"""Who one is in a room outlives a reload, in every browser, and whatever the device's clock says."""

from __future__ import annotations

import pytest

from web.companions import companion
from web.engines.firefox import Firefox
from web.person import Person

DAY_MS = 86_400_000
# A clock that is so many ms fast (or slow), until the page is loaded again.
SET_CLOCK = """(ms) => {
  const Real = Date;
  globalThis.Date = class extends Real {
    constructor(...args) { if (args.length) super(...args); else super(Real.now() + ms); }
    static now() { return Real.now() + ms; }
  };
}"""
# What relayd 0.1.0 has stored of a room: today's record, without what was added since.
AS_STORED_BEFORE = """() => new Promise((resolve, reject) => {
  const opening = indexedDB.open("relay", 1);
  opening.onsuccess = () => {
    const transaction = opening.result.transaction("rooms", "readwrite");
    const store = transaction.objectStore("rooms");
    store.getAll().onsuccess = ({ target }) => {
      for (const { seenAt, user, ...record } of target.result) {
        store.put({ ...record, user: user && { privateKey: user.privateKey, publicRaw: user.publicRaw } });
      }
    };
    transaction.oncomplete = () => resolve(true);
    transaction.onabort = () => reject(transaction.error);
  };
})"""


async def is_owner(ann: Person) -> None:
    """In the room without being asked anything, and its owner."""
    await ann.wait("textbox", "Message")
    await ann.click("button", "=Menu")
    await ann.wait("menuitem", "Run the room")
    await ann.key("Escape")


async def test_the_owner_reloads(people):
    """A reload, and the link opened again, find the owner of a sealed room, able to read and to make new keys."""
    ann = await people()
    link = await ann.create()
    async with companion(link, "bob") as bob:
        await ann.wait("listitem", text="bob")
        await ann.tab.reload()
        await is_owner(ann)
        assert len(bob.room.users) == 2
        owner = next(user for user in bob.room.users if user.id != bob.room.me.id)
        await bob.say("for you only", to=owner.id)
        await ann.sees("for you only")
        await ann.open("about:blank")
        await ann.open(link)
        await is_owner(ann)
        await ann.about_person("bob", "Put out")
        await ann.click("button", "Put out")
        await ann.sees("new keys and a new link")


async def test_a_guest_reloads(people):
    """Somebody who joined is the same person after a reload, and is asked nothing."""
    ann, dan = await people(), await people()
    link = await ann.create()
    await dan.join(link, "dan")
    await dan.say("before")
    await ann.sees("before")
    await dan.tab.reload()
    await dan.wait("textbox", "Message")
    await dan.say("after")
    await ann.sees("after")
    await ann.wait("heading", "2 people here")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_private_window(server):
    """A private window finds the owner after a reload, too."""
    firefox = await Firefox.launch(browser__privatebrowsing__autostart=True)
    try:
        ann = Person(await firefox.tab(), server.base)
        await ann.create()
        await ann.tab.reload()
        await is_owner(ann)
    finally:
        await firefox.close()


async def test_nothing_can_be_stored(server, people):
    """A browser that stores nothing says what that means, to owner and guest, and asks before one leaves."""
    asks = """() => {
      const leaving = new Event("beforeunload", { cancelable: true });
      return !dispatchEvent(leaving);
    }"""
    forbid = "() => void Object.defineProperty(window, 'indexedDB', { value: undefined })"
    ann, dan = await people(), await people()
    await ann.open()
    await ann.tab.evaluate(forbid)
    await ann.click("button", "Create room")
    await ann.sees("nobody can manage the room")
    link = await ann.tab.evaluate("() => location.href")
    await dan.open(link)
    await dan.tab.evaluate(forbid)
    await dan.fill("textbox", "Your name", "dan")
    await dan.click("button", "Join")
    await dan.sees("you come back as a different person")
    for one in (ann, dan):
        assert await one.tab.evaluate(asks)
    await ann.menu("Run the room")
    await ann.click("button", "=End the room")
    await ann.click("button", "=End the room")
    await dan.wait("alert")
    assert "different person" not in await dan.text()


async def test_rooms_of_the_version_before(request, people):
    """What relayd 0.1.0 has stored is read."""
    ann = await people()
    await ann.open()
    if "webkit" in request.node.name:  # where 0.1.0 could store open rooms only
        await ann.click("button", "More options")
        await ann.click("checkbox", "Encrypt")
    await ann.click("button", "Create room")
    await ann.wait("textbox", "Message")
    await ann.tab.evaluate(AS_STORED_BEFORE)
    for _ in range(2):
        await ann.tab.reload()
        await is_owner(ann)


@pytest.mark.parametrize("days", [3, -3])
async def test_a_clock_that_was_wrong(server, people, days):
    """A room lives on this device though its clock was days off when it was made, or when another one was joined."""
    ann = await people()
    other = await server.create()
    await ann.open()
    if days < 0:
        await ann.tab.evaluate(SET_CLOCK, days * DAY_MS)
    await ann.click("button", "Create room")
    await ann.wait("textbox", "Message")
    link = await ann.tab.evaluate("() => location.href")
    await ann.open()
    if days > 0:
        await ann.tab.evaluate(SET_CLOCK, days * DAY_MS)
    await ann.fill("textbox", "Got a link", other["link"])
    await ann.click("button", "=Open")
    await ann.click("button", "=Join")
    await ann.wait("textbox", "Message")
    await ann.open("about:blank")
    await ann.open(link)
    await is_owner(ann)
