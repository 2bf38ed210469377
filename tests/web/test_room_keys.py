"""A user is the same user after a reload, in each browser, and with a wrong clock of the device."""

from __future__ import annotations

import pytest

from web.companions import companion
from web.engines.firefox import Firefox
from web.person import Person

DAY_MS = 86_400_000
# Sets the clock forwards by so many ms, until the page is loaded again.
SET_CLOCK = """(ms) => {
  const Real = Date;
  globalThis.Date = class extends Real {
    constructor(...args) { if (args.length) super(...args); else super(Real.now() + ms); }
    static now() { return Real.now() + ms; }
  };
}"""
# Turns the records into those of relayd 0.1.0.
FAIL_TO_GENERATE = """() => {
  const { generateKey } = SubtleCrypto.prototype;
  globalThis.failures = 3;
  SubtleCrypto.prototype.generateKey = function (algorithm, ...more) {
    if (typeof algorithm !== "string" || failures === 0) return generateKey.call(this, algorithm, ...more);
    failures -= 1;
    return Promise.reject(new DOMException("The operation failed", "OperationError"));
  };
}"""

AS_STORED_BEFORE = """() => new Promise((resolve, reject) => {
  const opening = indexedDB.open("relay", 1);
  opening.onsuccess = () => {
    const transaction = opening.result.transaction("rooms", "readwrite");
    const store = transaction.objectStore("rooms");
    store.getAll().onsuccess = ({ target }) => {
      for (const { lastSeenAt, user, ...record } of target.result) {
        store.put({ ...record, user: user && { privateKey: user.privateKey, publicRaw: user.publicRaw } });
      }
    };
    transaction.oncomplete = () => resolve(true);
    transaction.onabort = () => reject(transaction.error);
  };
})"""


async def is_owner(ann: Person) -> None:
    """Ann is in the room without having been asked anything, as its owner."""
    await ann.wait("textbox", "Message")
    await ann.click("button", "=Menu")
    await ann.wait("menuitem", "Run the room")
    await ann.key("Escape")


async def test_the_owner_reloads(people):
    """After a reload the owner of a sealed room is still the owner, and has the keys to read and to rekey."""
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
    """A member is the same user after a reload, and is asked nothing."""
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
    """In a private window, too, the owner is still the owner after a reload."""
    firefox = await Firefox.launch(browser__privatebrowsing__autostart=True)
    try:
        ann = Person(await firefox.tab(), server.base)
        await ann.create()
        await ann.tab.reload()
        await is_owner(ann)
    finally:
        await firefox.close()


async def test_a_key_pair_that_cannot_be_generated(people):
    """WebKitGTK sometimes fails to generate a key pair: the page tries again."""
    ann, bob = await people(), await people()
    await ann.open()
    await ann.tab.evaluate(FAIL_TO_GENERATE)
    await ann.click("button", "Create room")
    await ann.wait("textbox", "Message")
    await bob.open(await ann.tab.evaluate("() => location.href"))
    await bob.tab.evaluate(FAIL_TO_GENERATE)
    await bob.fill("textbox", "Your name", "bob")
    await bob.click("button", "Join")
    await bob.say("hello")
    await ann.sees("hello")
    for one in (ann, bob):
        assert await one.tab.evaluate("() => failures") == 0


async def test_nothing_can_be_stored(server, people):
    """If the browser cannot store the user, the page says what that means, and asks before it is closed."""
    asks = """() => {
      const leaving = new Event("beforeunload", { cancelable: true });
      return !dispatchEvent(leaving);
    }"""
    no_database = "() => void Object.defineProperty(window, 'indexedDB', { value: undefined })"
    no_keys = """() => {
      IDBObjectStore.prototype.put = () => { throw new DOMException("cannot be cloned", "DataCloneError"); };
    }"""
    ann, dan = await people(), await people()
    await ann.open()
    await ann.tab.evaluate(no_database)
    await ann.click("button", "Create room")
    await ann.sees("nobody can manage the room")
    link = await ann.tab.evaluate("() => location.href")
    await dan.open(link)
    await dan.tab.evaluate(no_keys)
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
    """Records of relayd 0.1.0 are read."""
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
    """A clock that was days off when a room was made, or another one joined, does not delete the room's keys."""
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
