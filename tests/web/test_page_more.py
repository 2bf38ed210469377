"""Files and pictures, `relay` in a terminal, and what people are told when there is no way in."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from pathlib import Path

from conftest import relay_with
from playwright.async_api import expect

from web.visitors import png

RELAY = str(Path(sys.executable).parent / "relay")


async def test_pictures_and_files(visitors):
    """A picture is simply there; another file is fetched when one wants it, whole, under its name, and kept."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    offered = ann.page.locator("input[type=file]")
    await offered.set_input_files({"name": "red.png", "mimeType": "image/png", "buffer": png(40)})
    shown = bob.page.locator("article img")
    await expect(shown).to_be_visible()
    assert await shown.evaluate("node => [node.naturalWidth, node.naturalHeight]") == [40, 40]
    await bob.page.get_by_role("button", name="Enlarge red.png").click()
    await expect(bob.page.locator("dialog img")).to_be_visible()
    await bob.page.keyboard.press("Escape")
    data = bytes(range(256)) * 1_000
    await offered.set_input_files({"name": "notes.bin", "mimeType": "application/x-thing", "buffer": data})
    line = bob.line("notes.bin")
    await line.get_by_role("button", name="Get").click()
    async with bob.page.expect_download() as waiting:
        await line.get_by_role("link", name="Save").click()
    download = await waiting.value
    assert download.suggested_filename == "notes.bin"
    assert hashlib.sha256((await download.path()).read_bytes()).digest() == hashlib.sha256(data).digest()
    await expect(ann.line("notes.bin")).to_contain_text("Received by bob")
    await offered.set_input_files({"name": "gone.bin", "mimeType": "", "buffer": data})
    await bob.hears("gone.bin")
    await ann.line("gone.bin").get_by_role("button", name="Withdraw").click()
    await expect(ann.line("gone.bin")).to_contain_text("no longer on offer")


async def test_dropped_and_pasted_files(visitors):
    """Files come by drag and drop and from the clipboard, too."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    give = """(kind) => {
        const data = new DataTransfer();
        data.items.add(new File(['hello'], `${kind}.txt`, { type: 'text/plain' }));
        const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
            : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
        document.querySelector('.composer textarea').dispatchEvent(event);
    }"""
    await ann.page.evaluate(give, "dragover")
    await expect(ann.page.locator(".chat.dropping")).to_be_visible()
    await ann.page.evaluate(give, "drop")
    await bob.hears("drop.txt")
    await ann.page.evaluate(give, "paste")
    await bob.hears("paste.txt")


async def test_page_and_terminal(visitors):
    """In one sealed room with a password, the page and `relay` hear each other."""
    ann = await visitors()
    link = await ann.create(Password="tea and cake")
    listening = await asyncio.create_subprocess_exec(
        RELAY, "receive", link, "--nick", "terry", stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "RELAY_PASSWORD": "tea and cake"}, start_new_session=True,
    )  # fmt: skip
    try:
        await ann.hears("terry joined")
        await ann.say("Hello *terminal*")
        assert listening.stdout is not None
        async with asyncio.timeout(30):
            heard = (await listening.stdout.readline()).decode()
        assert re.fullmatch(r"ann\S*: Hello \*terminal\*\n", heard)
        sending = await asyncio.create_subprocess_exec(
            RELAY, "send", link, "--nick", "sue", "Hello page", stdin=asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "RELAY_PASSWORD": "tea and cake"}, start_new_session=True,
        )  # fmt: skip
        assert await sending.wait() == 0
        await expect(ann.line("Hello page").locator(".who")).to_contain_text("sue")
    finally:
        listening.kill()
        await listening.wait()


async def test_no_way_in(server, visitors):
    """Each closed door says why, and what can be done."""
    ann, bob = await visitors(), await visitors()
    link = await ann.create(**{"Most people at once": "1", "Password": "right"})
    await bob.knock(link, "bob", "wrong")
    await expect(bob.page.get_by_role("alert").filter(has_text=re.compile("Wrong password"))).to_be_visible()
    await bob.page.get_by_label("Password", exact=True).fill("right")
    await bob.page.get_by_role("button", name="Join").click()
    await expect(bob.page.get_by_role("alert").filter(has_text="The room is full")).to_be_visible()
    told = {
        link.partition("#")[0]: "link is incomplete",
        link.replace(".1p.", ".9."): "newer program",
        link[:-4]: "link is incomplete",
        re.sub(r"#ri_[\w-]{4}", "#ri_AAAA", link): "room is over",
    }
    for wrong, words in told.items():
        await bob.page.goto("about:blank")
        await bob.page.goto(wrong)
        await expect(bob.page.get_by_role("alert")).to_contain_text(words)
    await bob.page.get_by_role("button", name="To the start page").click()
    await bob.page.get_by_placeholder("Got a link?").fill("https://")
    await bob.page.get_by_role("button", name="Open").click()
    await expect(bob.page.get_by_role("alert")).to_contain_text("not the link of a room")


async def test_the_server_is_away(visitors):
    """A page whose server is gone says so, keeps what was said, and lets it be saved."""
    async with relay_with() as relay:
        ann = await visitors(base=relay.base)
        await ann.create()
        await ann.say("Keep this")
        await expect(ann.line("Keep this").get_by_role("img", name="Sent")).to_be_visible()
        await ann.page.get_by_role("button", name="Menu", exact=True).click()
        async with ann.page.expect_download() as waiting:
            await ann.page.get_by_role("menuitem", name="Save the chat").click()
        assert "Keep this" in (await (await waiting.value).path()).read_text()
    away = re.compile("server was stopped|cannot be reached|being restarted")
    await expect(ann.page.locator(".banner, [role=alert]").filter(has_text=away).first).to_be_visible()
    await ann.hears("Keep this")


async def test_open_rooms_say_so(visitors):
    """A room that is not sealed is marked as that before one joins, and inside."""
    ann, bob = await visitors(), await visitors()
    link = await ann.create(**{"Encrypt from end to end": False})
    await bob.page.goto(link)
    await expect(bob.page.get_by_text("The server could read what is said here.")).to_be_visible()
    await bob.join(link)
    await expect(bob.page.locator(".bar .open")).to_have_text("Not encrypted")
    await bob.page.get_by_role("button", name="Menu", exact=True).click()
    await expect(bob.page.get_by_role("menuitem", name="Safety code")).to_have_count(0)


async def test_safety_codes_agree(visitors):
    """Both see the same words for the room, and for each other."""
    ann, bob = await visitors(), await visitors()
    await bob.join(await ann.create())
    await expect(ann.page.locator("button.person").filter(has_text="bob")).to_be_visible()
    codes = []
    for person in (ann, bob):
        await person.menu("Safety code")
        await expect(person.page.locator(".words")).to_have_count(2)
        codes.append(await person.page.locator(".words").all_inner_texts())
        await person.page.keyboard.press("Escape")
    assert codes[0][0] == codes[1][0]
    assert codes[0][1] != codes[1][1]
    await ann.person("bob", "Compare safety code")
    await expect(ann.page.locator(".words")).to_have_count(1)
    assert await ann.page.locator(".words").inner_text() == codes[1][1]


async def test_passphrases(visitors):
    """A suggested passphrase is six words, another each time, and opens the room."""
    ann, bob = await visitors(), await visitors()
    await ann.page.goto(ann.base)
    await ann.page.get_by_text("More options").click()
    field = ann.page.get_by_label("Password", exact=True)
    seen = set()
    for _ in range(3):
        before = await field.input_value()
        await ann.page.get_by_role("button", name="Suggest one").click()
        await expect(field).not_to_have_value(before)
        seen.add(await field.input_value())
    assert len(seen) == 3
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+){5}", phrase) for phrase in seen)
    phrase = await field.input_value()
    await ann.page.get_by_role("button", name="Create room").click()
    await expect(ann.composer).to_be_visible()
    await bob.join(ann.page.url, "bob", phrase)
    await bob.say("I am in")
    await ann.hears("I am in")
